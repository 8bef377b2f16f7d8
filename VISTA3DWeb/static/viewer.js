// What the page does by itself: shortcuts, choosing and dropping files, saving downloads, the theme, reconnecting.
(() => {
  "use strict";
  const tab = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
  const state = () => window.trame?.state;
  const ask = (name, ...args) => window.trame.trigger(name, args);

  // --- sets of numbers ---
  const toggled = (chosen, ids) => {
    const all = ids.every((id) => chosen.includes(id));
    return all ? chosen.filter((id) => !ids.includes(id)) : [...chosen, ...ids.filter((id) => !chosen.includes(id))];
  };

  // --- uploads ---
  const put = (address, file, sent) =>
    new Promise((done, failed) => {
      const request = new XMLHttpRequest();
      request.open("PUT", address);
      request.upload.onprogress = (event) => sent(event.loaded);
      request.onerror = () => failed({ message: "The upload was interrupted.", fix: "Is the viewer still running?" });
      request.onload = () => {
        if (request.status === 200) return done();
        let answer = { message: `The upload was refused (${request.status}).`, fix: "" };
        try { answer = JSON.parse(request.responseText); } catch { /* no JSON: a proxy answered */ }
        failed(answer);
      };
      request.send(file);
    });

  const upload = async (files) => {
    if (!files.length || !state()) return;
    const batch = `${tab}${Date.now().toString(36)}`;
    const total = files.reduce((sum, entry) => sum + entry.file.size, 0);
    const loaded = new Map();
    let shown = 0;
    const report = (path, bytes) => {
      loaded.set(path, bytes);
      const now = Date.now();
      if (now - shown < 250) return;
      shown = now;
      ask("uploading", [...loaded.values()].reduce((a, b) => a + b, 0), total);
    };
    const queue = [...files];
    const work = async () => {
      while (queue.length) {
        const { path, file } = queue.shift();
        const name = path.split("/").map(encodeURIComponent).join("/");
        await put(`upload/${batch}/${name}`, file, (bytes) => report(path, bytes));
      }
    };
    try {
      ask("uploading", 0, total);
      await Promise.all(Array.from({ length: Math.min(4, files.length) }, work));
    } catch (error) {
      queue.length = 0;
      await fetch(`upload/${batch}`, { method: "DELETE" }).catch(() => {});
      return ask("upload_failed", error.message, error.fix || "");
    }
    return ask("open_upload", batch);
  };

  const choose = (folder) => {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.webkitdirectory = folder;
    input.id = "vista3d-chooser";
    input.style.display = "none";
    input.onchange = () => {
      upload(Array.from(input.files, (file) => ({ path: file.webkitRelativePath || file.name, file })));
      input.remove();
    };
    document.getElementById("vista3d-chooser")?.remove();
    document.body.append(input);
    input.click();
  };

  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      return [{ path: entry.fullPath.replace(/^\//, ""), file }];
    }
    const reader = entry.createReader();
    const found = [];
    for (;;) {
      const part = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!part.length) return found;
      for (const child of part) found.push(...(await walk(child)));
    }
  };

  const carriesFiles = (event) => Array.from(event.dataTransfer?.types || []).includes("Files");
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && document.body.classList.remove("dropping"));
  addEventListener("drop", async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    document.body.classList.remove("dropping");
    const entries = Array.from(event.dataTransfer.items, (item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = entries.length
      ? (await Promise.all(entries.map(walk))).flat()
      : Array.from(event.dataTransfer.files, (file) => ({ path: file.name, file }));
    upload(files);
  });

  // --- downloads ---
  const save = (address) => {
    const link = document.createElement("a");
    link.href = address;
    link.download = "";
    document.body.append(link);
    link.click();
    link.remove();
  };

  // --- shortcuts ---
  const NAMES = { " ": "Space", Escape: "Esc", Enter: "Return", Delete: "Del" };
  const pressed = (event) => {
    const key = NAMES[event.key] || (event.key.length === 1 ? event.key.toUpperCase() : event.key);
    const shifted = event.shiftKey && (key.length > 1 || /[A-Z]/.test(key));
    return [event.ctrlKey || event.metaKey ? "Ctrl" : "", event.altKey ? "Alt" : "", shifted ? "Shift" : "", key].filter(Boolean).join("+");
  };
  const typing = (target) => target.closest?.("textarea, select, input:not([type=checkbox]):not([type=range]):not([type=color])");
  const TAKES = { Space: "button, summary, a, input", Return: "button, summary, a, input" };
  addEventListener("keydown", (event) => {
    const now = state()?.state;
    if (!now || typing(event.target) || event.isComposing) return;
    const keys = pressed(event);
    if (keys === "Esc" && now.dialog) {
      if (["replace", "series"].includes(now.dialog)) ask("keep_open");
      else state().set("dialog", "");
      return;
    }
    if (now.dialog || now.active_tab !== tab) return;
    const open = document.querySelector(".menu[open]");
    if (keys === "Esc" && open) { close(open); return; }
    if (TAKES[keys] && event.target.closest?.(TAKES[keys]) && !(keys === "Return" && now.preview)) return;
    const shortcut = (now.shortcuts || []).find((entry) => entry.keys.includes(keys));
    if (!shortcut) return;
    event.preventDefault();
    event.stopPropagation();
    if (shortcut.action === "help") state().set("dialog", "help");
    else if (shortcut.action === "run_automatic") ask("run_automatic", now.chosen, now.overlapping);
    else if (!event.repeat || ["undo", "redo"].includes(shortcut.action)) ask("act", shortcut.action);
  }, true);

  // --- where the pointer is, in the patient ---
  const DIRECTIONS = [["R", "L"], ["A", "P"], ["S", "I"]];
  const rasUnder = (event) => {
    const area = event.target.closest?.(".layout-grid-item");
    const view = state()?.get(area?.querySelector("[data-view]")?.dataset.view);
    if (!view?.text) return null;
    const box = area.querySelector("[data-view]").getBoundingClientRect();
    const [width, height] = view.size;
    const x = Math.floor(((event.clientX - box.left) * width) / box.width);
    const y = height - 1 - Math.floor(((event.clientY - box.top) * height) / box.height);
    return view.matrix.map((row) => row[0] * x + row[1] * y + row[3]);
  };
  addEventListener("pointermove", (event) => {
    const place = document.getElementById("cursor");
    if (!place) return;
    const ras = rasUnder(event);
    place.textContent = ras ? ras.map((mm, n) => `${DIRECTIONS[n][mm >= 0 ? 0 : 1]} ${Math.abs(mm).toFixed(1)}`).join("  ") : "";
  });

  // --- menus close when one clicks elsewhere; the focus does not get lost in them ---
  const close = (menu) => {
    if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    menu.open = false;
  };
  addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll(".menu[open]")) {
      if (!menu.contains(event.target) || event.target.closest("[role=menuitem]")) close(menu);
    }
  });

  // --- a dialog takes the focus and gives it back ---
  let left = null; // what had the focus before the dialog
  const attend = () => {
    left ??= document.activeElement;
    setTimeout(() => { // the page has been drawn again
      const dialog = document.querySelector(".shade .dialog");
      (dialog ? dialog.querySelector("[autofocus]") || dialog.querySelector("button, select, input") : left)?.focus();
      if (!dialog) left = null;
    });
  };
  const nameViews = () => {
    for (const head of document.querySelectorAll(".frame-name")) {
      head.closest(".layout-grid-item")?.querySelector("[tabindex]")?.setAttribute("aria-label", `${head.textContent} view`);
    }
  };

  // --- theme ---
  const system = matchMedia("(prefers-color-scheme: light)");
  const paint = () => {
    const wanted = state()?.get("theme") || "auto";
    document.documentElement.dataset.theme = wanted === "auto" ? (system.matches ? "light" : "dark") : wanted;
  };
  system.addEventListener("change", paint);
  paint();

  // --- the server goes away and comes back ---
  const comeBack = () => {
    setInterval(async () => {
      const answer = await fetch("vista3d/icon.svg", { cache: "no-store" }).catch(() => null);
      if (answer?.ok) location.reload();
    }, 1500);
  };

  const begin = () => {
    if (!state()?.ready) return setTimeout(begin, 20);
    state().addListener(({ keys }) => {
      if (keys?.includes("theme")) paint();
      if (keys?.includes("dialog") || keys?.includes("active_tab")) attend();
    });
    new MutationObserver(nameViews).observe(document.body, { childList: true, subtree: true });
    paint();
    state().set("my_tab", tab);
    if (matchMedia("(max-width: 820px)").matches) state().set("panel_open", false);
    window.trame.client.onConnectionClose(comeBack);
    ask("hello", tab);
  };
  window.vista3d = { choose, upload, save, toggled, rasUnder, tab };
  begin();
})();
