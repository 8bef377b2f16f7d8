"""From a place in the page to a pixel of the picture: exact, inside, and the same for every size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from VISTA3DWeb.pointer import exact


def test_the_pixel_under_the_arrow_is_meant_not_the_edge_below_it() -> None:
    # The page says how far the arrow is above the lower edge; the lowest row of pixels is row 0.
    assert exact({"x": 10, "y": 100, "w": 50, "h": 100}, 50, 100) == {"x": 10, "y": 99, "w": 50, "h": 100}
    assert exact({"x": 10, "y": 1, "w": 50, "h": 100}, 50, 100)["y"] == 0


def test_an_element_that_is_half_a_pixel_higher_than_its_picture_does_not_shift_the_click() -> None:
    for row in range(362):
        found = exact({"x": 0, "y": 362.5 - (row + 0.5) * 362.5 / 362, "w": 468, "h": 362.5}, 468, 362)
        assert found["y"] == 361 - row


@given(
    st.floats(-50, 2000),
    st.floats(-50, 2000),
    st.floats(1, 1500),
    st.floats(1, 1500),
    st.integers(1, 3000),
    st.integers(1, 3000),
)
def test_whatever_the_page_sends_the_pixel_is_inside_the_picture(
    x: float, y: float, w: float, h: float, width: int, height: int
) -> None:
    found = exact({"x": x, "y": y, "w": w, "h": h, "type": "MouseMove"}, width, height)
    assert 0 <= found["x"] < width
    assert 0 <= found["y"] < height
    assert found["type"] == "MouseMove"


def test_events_without_a_place_pass_unchanged() -> None:
    assert exact({"type": "KeyPress", "key": "a"}, 10, 10) == {"type": "KeyPress", "key": "a"}
