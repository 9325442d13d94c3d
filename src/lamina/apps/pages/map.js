"use strict";
// One picture of P points for each layer; between two layers a point is drawn on the straight line from one place to
// the other. Points are set into a bitmap by hand: 20,000 of them take some 4 ms without a GPU, far less than as shapes.
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("map-data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const P = data.n, L = data.layers.length, PAD = 0.06, STEPS = 4; // STEPS: places within a pixel that a point can have
  const whole = new Int16Array(bytes(data.points)), unit = data.size / 32767;
  for (const column of data.columns) {
    if (column.codes) column.codes = new Uint8Array(bytes(column.codes));
    if (column.numbers) column.numbers = new Float32Array(bytes(column.numbers));
  }
  const coloured = data.columns.filter((column) => column.codes || column.numbers);
  const canvas = $("canvas"), context = canvas.getContext("2d", { alpha: false }), tip = $("tip");
  const dark = matchMedia("(prefers-color-scheme: dark)"), still = matchMedia("(prefers-reduced-motion: reduce)");
  const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

  // What is shown: `at` is the layer, perhaps between two; a point at world (u, v) is drawn at (x + zoom u, y - zoom v).
  const shown = { at: L - 1, x: 0, y: 0, zoom: 1, column: coloured[0], chosen: new Set(), found: null, hover: -1 };
  const world = new Float32Array(2 * P);
  let image = null, pixels = null, density = 1, asked = 0, moving = 0;

  function place() { // the points of the layer shown, in world units
    const low = Math.min(Math.floor(shown.at), L - 1), high = Math.min(low + 1, L - 1);
    const t = shown.at - low, ease = t * t * (3 - 2 * t), a = 2 * P * low, b = 2 * P * high;
    for (let i = 0; i < 2 * P; i++) world[i] = unit * (whole[a + i] + (whole[b + i] - whole[a + i]) * ease);
  }

  // Colours
  const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
  const packed = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;
  const RAMP = ["#5b55d6", "#a04bb8", "#d5577e", "#ec8a3e", "#e8c232"].map(rgb); // lighter all the way, seen on white and black
  const MARKS = ["disc", "square", "diamond", "cross"];
  let paper, faint, colour = new Int32Array(P), mark = new Uint8Array(P), order = new Uint32Array(P), n_bright = P;
  function ramp(t) {
    const k = Math.min(Math.floor(t * (RAMP.length - 1)), RAMP.length - 2), f = t * (RAMP.length - 1) - k;
    return RAMP[k].map((c, i) => Math.round(c + (RAMP[k + 1][i] - c) * f));
  }
  const kind = (code) => [data.palette[code % data.palette.length], Math.floor(code / data.palette.length) % MARKS.length];
  const shuffled = (() => { // so that the last kind of point does not lie on top of all others; the same every time
    const of = Uint32Array.from({ length: P }, (_, i) => i);
    for (let i = P - 1, seed = 1; i > 0; i--) {
      seed = (seed * 48271) % 2147483647;
      const j = seed % (i + 1);
      [of[i], of[j]] = [of[j], of[i]];
    }
    return of;
  })();
  function recolour() {
    const style = getComputedStyle(document.documentElement), column = shown.column;
    paper = packed(rgb(style.getPropertyValue("--paper").trim()));
    faint = packed(dark.matches ? [58, 58, 58] : [220, 220, 220]);
    const grey = packed([150, 150, 150]), plain = packed(rgb(data.palette[0]));
    const kinds = (column?.names ?? []).map((_, code) => kind(code)), colours = kinds.map(([hex]) => packed(rgb(hex)));
    for (let i = 0; i < P; i++) {
      mark[i] = 0;
      if (!column) colour[i] = plain;
      else if (column.codes) [colour[i], mark[i]] = [colours[column.codes[i]], kinds[column.codes[i]][1]];
      else {
        const value = column.numbers[i];
        colour[i] = value === value ? packed(ramp((value - column.low) / (column.high - column.low || 1))) : grey;
      }
    }
    const bright = (i) => (!shown.found || shown.found[i]) && (!shown.chosen.size || shown.chosen.has(column.codes[i]));
    let low = 0, high = P; // what is not meant lies beneath
    for (const i of shuffled) if (bright(i)) order[--high] = i; else order[low++] = i;
    n_bright = P - low;
    ask();
  }

  // Drawing
  const stamps = new Map();
  function stamp(shape, radius, dx, dy) { // how much of each pixel a mark covers, 0 to 256
    const key = ((shape * 512 + 4 * radius) * STEPS + dx) * STEPS + dy;
    let found = stamps.get(key);
    if (found) return found;
    const reach = Math.ceil(radius * 1.3) + 1, side = 2 * reach + 1, cover = new Int32Array(side * side);
    for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) {
      const u = Math.abs(x - reach - dx / STEPS), v = Math.abs(y - reach - dy / STEPS);
      const away = [Math.hypot(u, v) - radius, Math.max(u, v) - radius * 0.86, (u + v) * 0.75 - radius * 0.95,
        Math.max(Math.min(u, v) - radius * 0.38, Math.max(u, v) - radius * 1.15)][shape];
      cover[y * side + x] = Math.round(256 * clamp(0.5 - away, 0, 1));
    }
    stamps.set(key, (found = { reach, side, cover }));
    return found;
  }
  function draw() {
    asked = 0;
    const { width, height } = canvas, total = pixels.length;
    pixels.fill(paper);
    const crowd = Math.sqrt((width * height) / density ** 2 / Math.max(P, 60)) * 0.18;
    const grown = (clamp(crowd, 1.7, 6) * Math.pow(shown.zoom / fitted().zoom, 0.4)) * density;
    const radius = Math.round(clamp(grown, 1, 14 * density) * 4) / 4, strength = dark.matches || P < 3000 ? 0.92 : 0.78;
    const bold = Math.round(radius * (n_bright < P / 5 ? 1.7 : 1) * 4) / 4; // few that are meant among many: larger
    for (let k = 0; k < P; k++) {
      const i = order[k], dim = k < P - n_bright;
      const x = shown.x + shown.zoom * world[2 * i], y = shown.y - shown.zoom * world[2 * i + 1];
      const px = x * density, py = y * density, left = Math.floor(px), top = Math.floor(py);
      const dx = Math.floor((px - left) * STEPS), dy = Math.floor((py - top) * STEPS);
      const { reach, side, cover } = stamp(mark[i], dim ? radius : bold, dx, dy);
      if (left < -reach || top < -reach || left >= width + reach || top >= height + reach) continue;
      const c = dim ? faint : colour[i], rb = c & 0xff00ff, g = c & 0x00ff00;
      const x0 = Math.max(0, reach - left), x1 = Math.min(side, width + reach - left);
      const y0 = Math.max(0, reach - top), y1 = Math.min(side, height + reach - top);
      for (let v = y0; v < y1; v++) {
        let at = (top - reach + v) * width + left - reach + x0;
        for (let u = x0, from = v * side + x0; u < x1; u++, at++, from++) {
          const a = (cover[from] * strength) | 0;
          if (!a) continue;
          const under = pixels[at], under_rb = under & 0xff00ff, under_g = under & 0x00ff00; // two channels at a time
          pixels[at] = 0xff000000 | ((under_rb + (((rb - under_rb) * a) >> 8)) & 0xff00ff) | ((under_g + (((g - under_g) * a) >> 8)) & 0x00ff00);
        }
      }
    }
    context.putImageData(image, 0, 0);
    if (shown.hover >= 0) ring(shown.hover, bold);
    if (total) document.body.dataset.drawn = "yes";
  }
  function ring(i, radius) {
    context.lineWidth = 2 * density;
    context.strokeStyle = getComputedStyle(document.body).color;
    context.beginPath();
    context.arc((shown.x + shown.zoom * world[2 * i]) * density, (shown.y - shown.zoom * world[2 * i + 1]) * density, radius + 3 * density, 0, 7);
    context.stroke();
  }
  const ask = () => { asked ||= requestAnimationFrame(draw); };

  // Where we look
  function fitted() {
    const { clientWidth: w, clientHeight: h } = canvas, [[left, bottom], [right, top]] = data.view;
    const zoom = Math.min((w * (1 - 2 * PAD)) / Math.max(right - left, 1e-3), (h * (1 - 2 * PAD)) / Math.max(top - bottom, 1e-3));
    return { x: w / 2 - (zoom * (left + right)) / 2, y: h / 2 + (zoom * (top + bottom)) / 2, zoom };
  }
  function show_all() { Object.assign(shown, fitted()); tipped(); ask(); }
  function zoom_at(x, y, by) {
    const zoom = clamp(shown.zoom * by, fitted().zoom / 8, fitted().zoom * 400);
    by = zoom / shown.zoom;
    Object.assign(shown, { zoom, x: x + (shown.x - x) * by, y: y + (shown.y - y) * by });
    tipped();
    ask();
  }
  function pan(dx, dy) { shown.x += dx; shown.y += dy; tipped(); ask(); }
  function resized() {
    const { clientWidth: w, clientHeight: h } = canvas, before = canvas.width / density;
    density = Math.min(devicePixelRatio || 1, Math.sqrt(4e6 / Math.max(w * h, 1))); // more pixels cost frames
    canvas.width = Math.max(1, Math.round(w * density));
    canvas.height = Math.max(1, Math.round(h * density));
    image = context.createImageData(canvas.width, canvas.height);
    pixels = new Int32Array(image.data.buffer);
    stamps.clear();
    if (!before || !document.body.dataset.drawn) show_all(); else pan((w - before) / 2, 0);
  }

  // Which layer
  function go(at) {
    shown.at = clamp(at, 0, L - 1);
    $("layer").value = shown.at;
    const near = Math.round(shown.at), on = Math.abs(shown.at - near) < 1e-6;
    const strong = document.createElement("b");
    strong.textContent = on ? `layer ${data.layers[near]}` : `between ${data.layers[Math.floor(shown.at)]} and ${data.layers[Math.ceil(shown.at)]}`;
    $("note").replaceChildren(strong, on ? data.notes[near] : "");
    $("layer").setAttribute("aria-valuetext", strong.textContent);
    for (const tick of $("ticks").children) tick.setAttribute("aria-current", on && +tick.dataset.layer === near);
    place();
    tipped();
    ask();
  }
  function travel(to, then) { // 0.7 seconds a layer, and 0.2 on the way back to a layer that is near
    cancelAnimationFrame(moving);
    const from = shown.at, began = performance.now(), lasts = still.matches ? 0 : 700 * clamp(Math.abs(to - from), 0.3, 2.5);
    const step = (now) => {
      const t = lasts ? clamp((now - began) / lasts, 0, 1) : 1;
      go(from + (to - from) * t);
      if (t < 1) moving = requestAnimationFrame(step);
      else then?.();
    };
    moving = requestAnimationFrame(step);
  }
  let playing = 0;
  function play(on) {
    clearTimeout(playing);
    playing = 0;
    $("play").textContent = on ? "❚❚" : "▶";
    if (!on) return cancelAnimationFrame(moving);
    const next = () => {
      const last = shown.at >= L - 1;
      travel(last ? 0 : Math.floor(shown.at + 1e-6) + 1, () => {
        if (shown.at >= L - 1) play(false); else playing = setTimeout(next, 450);
      });
    };
    playing = setTimeout(next, 0);
  }

  // What a point says
  function nearest(x, y) { // all of them, one by one: 20,000 take 0.05 ms, less than an index would cost to keep
    let best = -1, least = 18 ** 2;
    for (let i = 0; i < P; i++) {
      if (shown.chosen.size && !shown.chosen.has(shown.column.codes[i])) continue;
      const d = (shown.x + shown.zoom * world[2 * i] - x) ** 2 + (shown.y - shown.zoom * world[2 * i + 1] - y) ** 2;
      if (d < least) [best, least] = [i, d];
    }
    return best;
  }
  function said(i) { // a point's text, as nodes: what comes from data is text and never markup
    if (!data.within) return [cut(data.texts[i], 320)];
    const [of, start, end] = data.within.slice(3 * i, 3 * i + 3), letters = Array.from(data.texts[of]);
    const word = document.createElement("mark"), low = Math.max(0, start - 110), high = Math.min(letters.length, end + 110);
    word.textContent = cut(letters.slice(start, end).join(""), 320);
    return [(low ? "…" : "") + letters.slice(low, start).join(""), word, letters.slice(end, high).join("") + (high < letters.length ? "…" : "")];
  }
  const cut = (text, most) => { const all = Array.from(text); return all.length > most ? all.slice(0, most).join("") + "…" : text; };
  function point(i) {
    if (i === shown.hover) return;
    shown.hover = i;
    tip.hidden = i < 0;
    if (i >= 0) {
      const text = document.createElement("div"), list = document.createElement("dl");
      text.append(...said(i));
      for (const column of data.columns) {
        const name = document.createElement("dt"), value = document.createElement("dd");
        name.textContent = column.name;
        value.textContent = cut(column.codes ? column.names[column.codes[i]] : column.values[i], 80);
        list.append(name, value);
      }
      tip.replaceChildren(text, ...(data.columns.length ? [list] : []));
    }
    tipped();
    ask();
  }
  function tipped() { // beside the point, inside the stage
    if (shown.hover < 0) return;
    const x = shown.x + shown.zoom * world[2 * shown.hover], y = shown.y - shown.zoom * world[2 * shown.hover + 1];
    const { clientWidth: w, clientHeight: h } = canvas, right = x + 14 + tip.offsetWidth < w, below = y + 14 + tip.offsetHeight < h;
    tip.style.left = `${clamp(right ? x + 14 : x - 14 - tip.offsetWidth, 4, Math.max(4, w - tip.offsetWidth - 4))}px`;
    tip.style.top = `${clamp(below ? y + 14 : y - 14 - tip.offsetHeight, 4, Math.max(4, h - tip.offsetHeight - 4))}px`;
  }

  // What is searched
  const low = data.texts.map((text) => text.toLowerCase());
  let hits = [], hit = -1;
  function search() {
    const words = $("find").value.trim().toLowerCase();
    hits = [];
    hit = -1;
    if (words) for (let i = 0; i < P; i++) {
      const whole = data.within ? low[data.within[3 * i]] : low[i];
      if (whole.includes(words)) hits.push(i);
    }
    shown.found = words ? new Uint8Array(P) : null;
    for (const i of hits) shown.found[i] = 1;
    $("hits").textContent = words ? `${hits.length.toLocaleString("en")} of ${P.toLocaleString("en")} points` : "";
    recolour();
  }
  function next(by) {
    const among = hits.length || shown.found ? hits : null, n = among ? among.length : P;
    if (!n) return;
    hit = (hit + by + n) % n;
    const i = among ? among[hit] : hit, { clientWidth: w, clientHeight: h } = canvas;
    const x = shown.x + shown.zoom * world[2 * i], y = shown.y - shown.zoom * world[2 * i + 1];
    if (x < 0 || y < 0 || x > w || y > h) pan(w / 2 - x, h / 2 - y);
    point(i);
    if (among) $("hits").textContent = `${hit + 1} of ${n.toLocaleString("en")}: ${cut(tip.firstChild.textContent, 120)}`;
  }

  // The legend
  function swatch(code) {
    const [hex, shape] = kind(code), ns = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(ns, "svg"), path = document.createElementNS(ns, "path");
    svg.setAttribute("viewBox", "-7 -7 14 14");
    path.setAttribute("fill", hex);
    path.setAttribute("d", ["M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0", "M-5-5H5V5H-5Z", "M0-6.6L6.6 0L0 6.6L-6.6 0Z",
      "M-2.2-6.5H2.2V-2.2H6.5V2.2H2.2V6.5H-2.2V2.2H-6.5V-2.2H-2.2Z"][shape]);
    svg.append(path);
    return svg;
  }
  function legend() {
    const column = shown.column, place = $("legend");
    shown.chosen.clear();
    place.className = "";
    place.replaceChildren();
    if (column?.numbers) {
      const bar = document.createElement("div"), ends = document.createElement("div");
      const known = column.numbers.filter((value) => value === value).sort();
      [column.low, column.high] = [known[Math.floor(known.length * 0.01)], known[Math.ceil(known.length * 0.99) - 1]]; // an outlier shall not take the scale
      column.numbers.forEach((value, i) => { if (value === value) column.numbers[i] = clamp(value, column.low, column.high); });
      bar.id = "scale";
      bar.style.background = `linear-gradient(to right, ${RAMP.map((c) => `rgb(${c})`)})`;
      ends.className = "ends";
      for (const value of [column.low, column.high]) ends.append(Object.assign(document.createElement("span"), { textContent: +value.toPrecision(4) }));
      place.append(bar, ends);
    }
    column?.names?.forEach((name, code) => {
      const button = document.createElement("button");
      button.type = "button";
      for (const [what, text] of [["name", name || "(none)"], ["count", column.counts[code].toLocaleString("en")]])
        button.append(Object.assign(document.createElement("span"), { className: what, textContent: text }));
      button.prepend(swatch(code));
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        if (!shown.chosen.delete(code)) shown.chosen.add(code);
        place.classList.toggle("chosen", shown.chosen.size > 0);
        button.setAttribute("aria-pressed", shown.chosen.has(code));
        recolour();
      });
      place.append(button);
    });
    recolour();
  }

  // Hands
  const fingers = new Map();
  const inside = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, inside(event));
    canvas.classList.add("dragged");
    if (event.pointerType !== "mouse" && fingers.size === 1) point(nearest(...inside(event)));
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = inside(event), before = fingers.get(event.pointerId);
    if (!before) return point(nearest(...now));
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    fingers.set(event.pointerId, now);
    if (!other) return pan(now[0] - before[0], now[1] - before[1]);
    const apart = (a) => Math.hypot(a[0] - other[0], a[1] - other[1]);
    zoom_at((now[0] + other[0]) / 2, (now[1] + other[1]) / 2, apart(now) / Math.max(apart(before), 1));
    pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => {
    fingers.delete(event.pointerId);
    if (!fingers.size) canvas.classList.remove("dragged");
  });
  canvas.addEventListener("pointerleave", (event) => { if (!fingers.size && event.pointerType === "mouse") point(-1); });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom_at(...inside(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016) * (event.ctrlKey ? 4 : 1)));
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => zoom_at(...inside(event), 2));
  const middle = () => [canvas.clientWidth / 2, canvas.clientHeight / 2];
  const KEYS = {
    ArrowLeft: () => pan(60, 0), ArrowRight: () => pan(-60, 0), ArrowUp: () => pan(0, 60), ArrowDown: () => pan(0, -60),
    "+": () => zoom_at(...middle(), 1.4), "=": () => zoom_at(...middle(), 1.4), "-": () => zoom_at(...middle(), 1 / 1.4),
    0: show_all, n: () => next(1), p: () => next(-1), Escape: () => point(-1),
    PageUp: () => travel(Math.min(L - 1, Math.round(shown.at) + 1)), PageDown: () => travel(Math.max(0, Math.round(shown.at) - 1)),
  };
  canvas.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey ? null : KEYS[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  $("in").addEventListener("click", KEYS["+"]);
  $("out").addEventListener("click", KEYS["-"]);
  $("all").addEventListener("click", show_all);
  $("save").addEventListener("click", () => canvas.toBlob((blob) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `layer-${data.layers[Math.round(shown.at)]}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }));
  $("layer").addEventListener("input", (event) => { play(false); go(+event.target.value); });
  $("layer").addEventListener("change", () => travel(Math.round(shown.at)));
  $("layer").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowUp: 1, PageUp: 1, ArrowLeft: -1, ArrowDown: -1, PageDown: -1 }[event.key];
    if (by) { event.preventDefault(); travel(clamp(Math.round(shown.at) + by, 0, L - 1)); }
  });
  [...$("ticks").children].forEach((tick, k) => {
    tick.style.left = `${L > 1 ? (100 * k) / (L - 1) : 50}%`;
    tick.addEventListener("click", () => { play(false); travel(k); });
  });
  $("play").addEventListener("click", () => play(!playing && $("play").textContent === "▶"));
  $("find").addEventListener("input", search);
  $("find").addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); next(event.shiftKey ? -1 : 1); } });
  $("by").hidden = !coloured.length;
  coloured.forEach((column, k) => $("colour").append(new Option(column.name, k)));
  $("colour").addEventListener("change", (event) => { shown.column = coloured[+event.target.value]; legend(); });
  dark.addEventListener("change", recolour);
  new ResizeObserver(resized).observe(canvas);
  legend();
  resized();
  go(L - 1);
})();
