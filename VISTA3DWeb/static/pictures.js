// A view is left with the newest of its pictures. Each goes through one of four decoders: a picture that comes while
// all are busy is left out, and a small one may overtake a large one. So, once a view is quiet, the page makes sure.
(() => {
  "use strict";
  const QUIET = 400; // ms without a new picture
  const TOPIC = "trame.rca.topic.stream";
  const newest = new Map(); // of each view: its name, its last picture, the address under which that was shown

  const imageOf = (name) =>
    document.querySelector(`.frame-head.${CSS.escape(name.toLowerCase())}`)?.closest(".layout-grid-item")
      ?.querySelector("img.image-display-area");
  const settle = (entry) => {
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => {
      const image = imageOf(entry.name);
      if (!image || image.src === entry.address) return;
      entry.address ||= URL.createObjectURL(entry.picture);
      image.src = entry.address;
    }, QUIET);
  };
  const came = ([{ name, meta, content }]) => {
    const entry = newest.get(name) ?? { name };
    if (entry.address) URL.revokeObjectURL(entry.address);
    newest.set(name, Object.assign(entry, { picture: new Blob([content], { type: meta.type }), address: "" }));
    settle(entry);
  };
  const shown = ({ target }) => {
    if (!target.matches?.("img.image-display-area")) return;
    for (const entry of newest.values()) {
      if (imageOf(entry.name) === target && target.src !== entry.address) settle(entry);
    }
  };

  const begin = () => {
    const session = window.trame?.state?.ready && window.trame.client.getConnection()?.getSession();
    if (!session) return setTimeout(begin, 20);
    session.subscribe(TOPIC, came);
    document.addEventListener("load", shown, true); // an image's load event is seen on its way down only
  };
  begin();
})();
