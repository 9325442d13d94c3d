"use strict";
// All weights are ten-thousandths, so that what is shown is what was computed, rounded once. A plane is U times U: from
// a unit (row) to a unit (column); plane 0 of a layer is the mean of its heads.
(async () => {
  const $ = (id) => document.getElementById(id), STEP = 10000, NONE = 65535, LARGE = 15, ARCS = 12;
  const data = JSON.parse($("attention-data").textContent), L = data.layers.length, N = data.heads.length + 1;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
  const make = (name, more = {}) => Object.assign(document.createElement(name), more);
  const shown = { text: 0, layer: L - 1, plane: 0, unit: -1, pinned: false, cell: [-1, -1] };

  async function unpacked(text) { // base64, gzip, then all low bytes and all high bytes
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer()), n = planes.length / 2, found = new Uint16Array(n);
    for (let i = 0; i < n; i++) found[i] = planes[i] | (planes[n + i] << 8);
    return found;
  }
  const held = new Map(); // the weights of the texts that were looked at
  const weights = (k) => held.get(k) ?? held.set(k, Promise.all(data.texts[k].weights.map(unpacked))).get(k);
  let text, U, planes, plane;
  const weight = (i, j) => plane[i * U + j];
  const hidden = (i) => $("plain").checked && text.special[i];
  const number = (w) => (w === NONE ? "no weight" : (w / STEP).toFixed(4));
  const name = (i) => text.units[i] || "(empty)";
  const where = () => `layer ${data.layers[shown.layer]}, ${shown.plane ? `head ${data.heads[shown.plane - 1]}` : "mean of the heads"}`;

  // Colours: the root of a weight, as a share of the largest one shown, since most weights are small
  const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
  let ramp = [];
  function colours() {
    const paper = rgb(getComputedStyle(document.documentElement).getPropertyValue("--paper").trim());
    const stops = dark.matches ? [paper, rgb("#0b5d91"), rgb("#56b4e9"), rgb("#f2faff")] : [paper, rgb("#8fcdf0"), rgb("#0072b2"), rgb("#052c49")];
    ramp = Array.from({ length: 256 }, (_, k) => {
      const t = (k / 255) * 3, s = Math.min(Math.floor(t), 2);
      return stops[s].map((c, i) => Math.round(c + (stops[s + 1][i] - c) * (t - s)));
    });
    $("ramp").style.background = `linear-gradient(to right, ${ramp.filter((_, k) => k % 15 === 0).map((c) => `rgb(${c})`)})`;
  }
  const shade = (w, most) => ramp[w === NONE || !most ? 0 : Math.round(255 * Math.sqrt(clamp(w / most, 0, 1)))];
  function strongest(of) { // between ordinary units: what falls to special tokens would leave the rest in the dark
    let most = 0, any = 0;
    for (let i = 0; i < U; i++) for (let j = 0; j < U; j++) {
      const w = of[i * U + j];
      if (w === NONE) continue;
      if (w > any) any = w;
      if (w > most && !text.special[i] && !text.special[j]) most = w;
    }
    return most || any;
  }

  // All heads at a glance: a small picture each, the largest weight of a block where units are many
  function overview() {
    const place = $("overview"), side = Math.min(U, 48);
    place.replaceChildren(make("span"));
    place.style.gridTemplateColumns = `1.6rem repeat(${N}, minmax(0, 1fr))`;
    for (let k = 0; k < N; k++) place.append(make("span", { className: "name", textContent: k ? data.heads[k - 1] : "⌀", title: k ? "" : "mean of the heads" }));
    planes.forEach((layer, l) => {
      place.append(make("span", { className: "name", textContent: data.layers[l] }));
      for (let k = 0; k < N; k++) {
        const button = make("button", { type: "button" }), canvas = make("canvas", { width: side, height: side });
        const of = layer.subarray(k * U * U, (k + 1) * U * U), most = strongest(of), context = canvas.getContext("2d");
        const image = context.createImageData(side, side), block = new Uint16Array(side * side);
        for (let i = 0; i < U; i++) for (let j = 0; j < U; j++) {
          const at = Math.floor((i * side) / U) * side + Math.floor((j * side) / U), w = of[i * U + j];
          if (w !== NONE && w > block[at] && !hidden(i) && !hidden(j)) block[at] = w;
        }
        block.forEach((w, at) => image.data.set([...shade(w, most), 255], 4 * at));
        context.putImageData(image, 0, 0);
        button.append(canvas);
        button.setAttribute("aria-label", `layer ${data.layers[l]}, ${k ? `head ${data.heads[k - 1]}` : "mean of the heads"}`);
        button.addEventListener("click", () => choose(l, k));
        button.addEventListener("keydown", (event) => {
          const by = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
          if (!by) return;
          event.preventDefault();
          choose(clamp(l + by[0], 0, L - 1), clamp(k + by[1], 0, N - 1));
          place.querySelector('[aria-pressed="true"]').focus();
        });
        place.append(button);
      }
    });
  }
  function choose(layer, k) {
    Object.assign(shown, { layer, plane: k });
    plane = planes[layer].subarray(k * U * U, (k + 1) * U * U);
    [...$("overview").querySelectorAll("button")].forEach((button, at) => button.setAttribute("aria-pressed", at === layer * N + k));
    document.querySelector(".where").textContent = where()[0].toUpperCase() + where().slice(1);
    draw();
    tie();
  }

  // The heat map
  let cell = 0, edge = 0;
  function draw() {
    const canvas = $("heat"), context = canvas.getContext("2d"), density = Math.min(devicePixelRatio || 1, 2), most = strongest(plane);
    const letters = (size) => `${size}px ${getComputedStyle(document.body).fontFamily}`;
    const room = $("matrix").clientWidth;
    context.font = letters(12);
    const longest = Math.min(Math.max(...text.units.map((_, i) => context.measureText(name(i)).width)) + 8, 110);
    cell = Math.floor(clamp((room - longest) / U, 1, 30));
    if ($("large").checked) cell = Math.max(cell, LARGE);
    const labelled = cell >= 9;
    edge = labelled ? Math.ceil(longest) : 0;
    if (!labelled) cell = Math.max(room / U, 1);
    const size = edge + Math.floor(cell * U), small = make("canvas", { width: U, height: U }), image = new ImageData(U, U);
    for (let i = 0; i < U; i++) for (let j = 0; j < U; j++)
      image.data.set([...shade(hidden(i) || hidden(j) ? 0 : weight(i, j), most), 255], 4 * (i * U + j));
    small.getContext("2d").putImageData(image, 0, 0);
    Object.assign(canvas, { width: size * density, height: size * density });
    Object.assign(canvas.style, { width: `${size}px`, height: `${size}px` });
    const style = getComputedStyle(document.body);
    context.scale(density, density);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, edge, edge, cell * U, cell * U);
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--faint");
    context.strokeRect(edge + 0.5, edge + 0.5, cell * U - 1, cell * U - 1);
    context.fillStyle = style.color;
    context.font = letters(clamp(cell - 1, 9, 12));
    context.textBaseline = "middle";
    if (labelled) for (let i = 0; i < U; i++) {
      context.globalAlpha = text.special[i] ? 0.6 : 1;
      const at = edge + (i + 0.5) * cell;
      context.textAlign = "right";
      context.fillText(name(i), edge - 4, at, edge - 6);
      context.save();
      context.translate(at, edge - 4);
      context.rotate(-Math.PI / 2);
      context.textAlign = "left";
      context.fillText(name(i), 0, 0, edge - 6);
      context.restore();
    }
    $("most").textContent = `${number(most)} and more`;
    shown.cell = [-1, -1];
  }
  function said(place, i, j) {
    const w = weight(i, j), parts = [make("span", { textContent: name(i) }), " → ", make("span", { textContent: name(j) }), " ", make("b", { textContent: number(w) })];
    place.replaceChildren(...parts);
  }
  function at(i, j, x, y) { // the cell under the pointer, or the one that the keys came to
    const tip = $("tip"), inside = i >= 0 && j >= 0 && i < U && j < U;
    tip.hidden = !inside;
    if (!inside) return;
    shown.cell = [i, j];
    said(tip, i, j);
    tip.style.left = `${clamp(x + 14, 4, innerWidth - tip.offsetWidth - 6)}px`;
    tip.style.top = `${clamp(y + 14, 4, innerHeight - tip.offsetHeight - 6)}px`;
  }
  $("heat").addEventListener("pointermove", (event) => {
    const box = $("heat").getBoundingClientRect();
    at(Math.floor((event.clientY - box.top - edge) / cell), Math.floor((event.clientX - box.left - edge) / cell), event.clientX, event.clientY);
  });
  $("heat").addEventListener("pointerdown", (event) => {
    const box = $("heat").getBoundingClientRect(), i = Math.floor((event.clientY - box.top - edge) / cell);
    if (i >= 0 && i < U) pin(i);
  });
  for (const leave of ["pointerleave", "blur"]) $("heat").addEventListener(leave, () => { $("tip").hidden = true; });
  $("heat").addEventListener("keydown", (event) => {
    const by = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!by) return;
    event.preventDefault();
    const [i, j] = [0, 1].map((k) => clamp(Math.max(shown.cell[k], 0) + (shown.cell[k] < 0 ? 0 : by[k]), 0, U - 1));
    const box = $("heat").getBoundingClientRect();
    at(i, j, box.left + edge + (j + 0.5) * cell, box.top + edge + (i + 0.5) * cell);
    said($("said"), i, j);
  });

  // The text: shades say how much, arcs say which are the strongest
  const from = () => document.querySelector('[name="way"]:checked').value === "from";
  const tie_of = (i, j) => (from() ? weight(i, j) : weight(j, i));
  function spell() {
    const place = $("tokens");
    place.className = U > 80 ? "many" : "";
    place.replaceChildren(...text.units.flatMap((_, i) => {
      const button = make("button", { type: "button", textContent: name(i), className: text.special[i] ? "special" : "" });
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") point(i); });
      button.addEventListener("focus", () => { if (!shown.pinned) point(i); });
      button.addEventListener("click", () => pin(shown.pinned && shown.unit === i ? -1 : i));
      return [button, " "];
    }));
    place.onpointerleave = () => { if (!shown.pinned) point(-1); };
  }
  function point(i) { // without a pin, the unit to look from; with one, the unit to look at
    if (shown.pinned && i >= 0) {
      const [a, b] = from() ? [shown.unit, i] : [i, shown.unit];
      return said($("said"), a, b);
    }
    shown.unit = i;
    tie();
  }
  function pin(i) {
    Object.assign(shown, { unit: i, pinned: i >= 0 });
    tie();
  }
  function tie() {
    const buttons = $("tokens").querySelectorAll("button"), i = shown.unit, ties = [];
    const column = (j) => { let sum = 0; for (let k = 0; k < U; k++) if (!hidden(k) && weight(k, j) !== NONE) sum += weight(k, j); return sum / U; };
    const of = Array.from({ length: U }, (_, j) => (hidden(j) ? 0 : i >= 0 ? tie_of(i, j) : column(j)));
    const most = Math.max(...of.filter((w) => w !== NONE), 1);
    buttons.forEach((button, j) => {
      const t = of[j] === NONE ? 0 : Math.sqrt(of[j] / most);
      button.style.background = t > 0.05 ? `color-mix(in srgb, #0072b2 ${Math.round(70 * t)}%, var(--paper))` : "";
      button.style.color = t > 0.75 && !dark.matches ? "#fff" : "";
      button.setAttribute("aria-pressed", shown.pinned && j === i);
    });
    if (i >= 0) {
      for (let j = 0; j < U; j++) if (j !== i && of[j] && of[j] !== NONE) ties.push([i, j, of[j]]);
      const order = ties.sort((a, b) => b[2] - a[2]).slice(0, 3).map(([, j, w]) => `${name(j)} ${number(w)}`);
      if (of[i] === NONE) $("said").textContent = `${name(i)}: no weights (a unit without tokens, or a head that was taken out)`;
      else $("said").textContent = `${name(i)} ${from() ? "looks at" : "is looked at by"}: ${order.join(", ")}${of[i] ? `; itself ${number(of[i])}` : ""}`;
    } else {
      for (let a = 0; a < U; a++) for (let b = 0; b < U; b++) {
        const w = weight(a, b);
        if (a !== b && w !== NONE && w > STEP / 20 && !text.special[a] && !text.special[b]) ties.push([a, b, w]);
      }
      ties.sort((a, b) => b[2] - a[2]);
      $("said").textContent = "Point at a unit or tap it. Shades: how much each is looked at; arcs: the strongest ties between words.";
    }
    arcs(ties.slice(0, i >= 0 ? ARCS : 3 * ARCS), buttons);
  }
  function arcs(ties, buttons) {
    const svg = $("arcs"), ns = svg.namespaceURI, frame = $("line"), box = frame.getBoundingClientRect(), most = ties[0]?.[2] ?? 1;
    svg.setAttribute("width", frame.clientWidth);
    svg.setAttribute("height", frame.scrollHeight);
    const top = (k) => {
      const b = buttons[k].getBoundingClientRect();
      return [b.left + b.width / 2 - box.left, b.top - box.top + frame.scrollTop + 1];
    };
    svg.replaceChildren(...ties.map(([a, b, w]) => {
      const path = document.createElementNS(ns, "path"), [x, y] = top(a), [u, v] = top(b);
      const rise = y === v ? 8 + Math.min(30, Math.abs(u - x) * 0.16) : 22;
      path.setAttribute("d", `M${x} ${y}C${x} ${y - rise} ${u} ${v - rise} ${u} ${v}`);
      path.setAttribute("stroke-width", (0.8 + 3.2 * (w / most)).toFixed(2));
      path.setAttribute("stroke-opacity", (0.2 + 0.65 * (w / most)).toFixed(2));
      return path;
    }));
  }

  async function open(k) {
    delete document.body.dataset.ready;
    planes = await weights(k);
    [text, U] = [data.texts[k], data.texts[k].units.length];
    Object.assign(shown, { text: k, unit: -1, pinned: false });
    overview();
    spell();
    choose(shown.layer, shown.plane);
    document.body.dataset.ready = k;
  }
  const again = () => { colours(); overview(); choose(shown.layer, shown.plane); };
  $("which").hidden = data.texts.length < 2;
  $("text").addEventListener("change", (event) => open(+event.target.value));
  $("large").addEventListener("change", draw);
  $("plain").addEventListener("change", again);
  for (const way of document.querySelectorAll('[name="way"]')) way.addEventListener("change", tie);
  dark.addEventListener("change", again);
  let width = innerWidth;
  addEventListener("resize", () => { if (width !== innerWidth) { width = innerWidth; draw(); tie(); } });
  colours();
  await open(0);
})();
