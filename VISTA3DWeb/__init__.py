"""The browser viewer: the same click-to-segment on any machine (trame-slicer over the shared Scene layer)."""
