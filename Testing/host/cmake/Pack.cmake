# Slicer packs here; the lists are written already.
