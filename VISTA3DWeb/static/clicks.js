// The page's own answer to a click, in the same frame: the point and a busy mark, until the server shows its own.
(() => {
  "use strict";
  const STILL = 5; // pixels that a click may wander; beyond it was a drag
  const REST = 350; // ms that the pointer must rest before a window is computed ahead
  const state = () => window.trame?.state;
  const ask = (name, ...args) => window.trame.trigger(name, args);

  // --- marks ---
  const marks = new Set();
  const tell = () => state().set("clicks", marks.size);
  const put = (area, event, sign) => {
    const box = area.getBoundingClientRect();
    const element = document.createElement("i");
    element.className = `mark ${sign}`;
    element.style.left = `${event.clientX - box.left}px`;
    element.style.top = `${event.clientY - box.top}px`;
    area.append(element);
    const mark = { element, view: area.dataset.view, plane: planeOf(area.dataset.view), taken: false };
    marks.add(mark);
    tell();
    return mark;
  };
  const planeOf = (view) => JSON.stringify(state().get(view)?.matrix);
  const withdraw = (mark, linger) => {
    if (!marks.delete(mark)) return;
    mark.element.classList.add("done");
    setTimeout(() => mark.element.remove(), linger); // until the picture that shows the point has arrived
    tell();
  };
  const review = () => {
    const now = state().state;
    for (const mark of [...marks]) {
      if (planeOf(mark.view) !== mark.plane) withdraw(mark, 0); // another slice is shown
      else if (mark.taken && (now.preview || !now.points_pending || !now.live)) withdraw(mark, 400);
    }
  };

  // --- clicks ---
  let down = null;
  const areaOf = (event) => {
    if (event.target.closest?.("button, input, select, a")) return null;
    return event.target.closest?.(".layout-grid-item")?.querySelector("[data-view]") ?? null;
  };
  addEventListener("pointerdown", (event) => {
    const plain = event.isPrimary && event.button === 0 && !event.shiftKey && !event.ctrlKey && !event.altKey;
    down = plain && areaOf(event) ? { x: event.clientX, y: event.clientY } : null;
    forget();
  }, true);
  addEventListener("pointerup", async (event) => {
    const now = state()?.state;
    const area = down && areaOf(event);
    const still = area && Math.hypot(event.clientX - down.x, event.clientY - down.y) < STILL;
    down = null;
    if (!still || !now?.placing || !now.can_click) return;
    const ras = window.vista3d.rasUnder(event);
    if (!ras) return;
    const mark = put(area, event, now.placing);
    mark.taken = await ask("place_point", ras, now.placing === "positive").catch(() => false);
    if (mark.taken) review();
    else withdraw(mark, 0);
  }, true);

  // --- the window under a pointer that rests is computed ahead ---
  let resting = null;
  let asked = false;
  const forget = () => {
    clearTimeout(resting);
    if (asked) ask("rest_ended");
    asked = false;
  };
  addEventListener("pointermove", (event) => {
    if (!state()?.ready) return;
    const now = state().state;
    forget();
    if (!now.placing || now.activity || event.buttons || !areaOf(event)) return;
    resting = setTimeout(() => {
      const ras = window.vista3d.rasUnder(event);
      if (!ras || state().state.activity) return;
      asked = true;
      ask("rest", ras);
    }, REST);
  });

  const begin = () => {
    if (!state()?.ready) return setTimeout(begin, 20);
    state().addListener(review);
  };
  begin();
})();
