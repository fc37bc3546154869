// The page of deixis: one photo or clip, any number of sentences, everything drawn from probability maps that are sent once.
"use strict";

const COLOURS = ["#e6194b", "#4363d8", "#3cb44b", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#9a6324"];
const at = (id) => document.getElementById(id);
const state = { photo: null, clip: null, file: null, answers: [], rule: "probability", word: null, request: null, number: 0, token: "" };
let nextNumber = 1;

// Talking to the server

function headers() {
  return state.token ? { Authorization: `Bearer ${state.token}` } : {};
}

async function answerOf(response) {
  if (response.ok) return response.json();
  if (response.status === 401) at("token-row").hidden = false;
  let message = `The server answered ${response.status}.`;
  try { message = (await response.json()).error.message; } catch { /* not in our shape */ }
  throw new Error(message);
}

async function loadModel(isRepeated = false) {
  try {
    const { models } = await answerOf(await fetch("v1/models", { headers: headers() }));
    const { kind, threshold } = models[0].rule;
    state.rule = kind;
    at("threshold").value = threshold;
    showThreshold();
    at("threshold-row").hidden = kind === "half-maximum";
    if (isRepeated) say("The model is ready.");
    at("token-row").hidden = true;
    at("error").textContent = "";
  } catch (error) {
    if (at("token-row").hidden) setTimeout(loadModel, 2000, true); // it is still being loaded
    say(error.message);
  }
}

async function ask(sentence) {
  state.request?.abort();
  const request = state.request = new AbortController();
  const file = state.file;
  busy(true);
  say(`Looking for “${sentence}” …`);
  at("error").textContent = "";
  try {
    const found = await (state.clip ? askClip : askPhoto)(file, sentence, request.signal);
    if (request !== state.request || file !== state.file) return; // an older answer never replaces a newer one
    const answer = { ...found, number: nextNumber++, shown: true };
    answer.colour = COLOURS[(answer.number - 1) % COLOURS.length];
    state.answers.push(answer);
    if (state.clip) useFrames(answer);
    say(result(answer));
    at("sentence").value = "";
  } catch (error) {
    if (error.name === "AbortError") { if (request === state.request) say("Cancelled."); }
    else { say(""); at("error").textContent = error.message; }
  } finally {
    if (request === state.request) { busy(false); state.request = null; }
    render();
  }
}

async function post(path, fields, signal) {
  const form = new FormData();
  for (const [name, value] of Object.entries({ ...fields, mask: "none", probability: "1" })) form.append(name, value);
  return answerOf(await fetch(path, { method: "POST", body: form, headers: headers(), signal }));
}

async function askPhoto(image, sentence, signal) {
  const { answers } = await post("v1/segment", { image, sentence, evidence: "1" }, signal);
  return { ...answers[0], levels: await levelsOf(answers[0].probability, state.photo) };
}

function imageOf(base64, type) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type }));
}

async function levelsOf(base64, { width, height }) {
  const image = await imageOf(base64, "image/png");
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height).data;
  const levels = new Uint8Array(width * height);
  for (let i = 0; i < levels.length; i++) levels[i] = pixels[4 * i];
  return levels;
}

// Masks

function maskOf(answer) {
  const { levels } = answer;
  const mask = new Uint8Array(levels.length);
  if (answer.present === false) return mask;
  let low = 0, high = 255;
  if (state.rule !== "probability") { low = 255; high = 0; for (const level of levels) { low = Math.min(low, level); high = Math.max(high, level); } }
  const share = Number(at("threshold").value);
  const cut = state.rule === "half-maximum" ? high / 2 : low + share * (high - low);
  for (let i = 0; i < levels.length; i++) mask[i] = state.rule === "min-max" ? levels[i] >= cut && high > low : levels[i] > cut;
  return mask;
}

function isEdge(mask, i, width, reach) {
  return mask[i] && !(mask[i - reach] && mask[i + reach] && mask[i - reach * width] && mask[i + reach * width]);
}

function draw(canvas = at("picture")) {
  const { photo } = state;
  if (!photo) return;
  const { width, height } = photo;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(photo, 0, 0);
  const image = context.getImageData(0, 0, width, height);
  if (state.word) drawWord(image);
  else for (const answer of state.answers) if (answer.shown) drawMask(image, answer);
  context.putImageData(image, 0, 0);
  if (!state.word) for (const answer of state.answers) if (answer.shown) drawNumber(context, answer);
}

function drawMask({ data, width, height }, answer) {
  const mask = answer.mask = maskOf(answer);
  const colour = [1, 3, 5].map((start) => parseInt(answer.colour.slice(start, start + 2), 16));
  const reach = Math.max(1, Math.round(Math.min(width, height) / 240));
  const dash = 6 * reach; // each number has its own pattern, so that colour is not the only difference
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const edge = isEdge(mask, i, width, reach);
    const gap = edge && Math.floor((i % width + Math.floor(i / width)) / dash) % (1 + answer.number % 3) === 1;
    for (let c = 0; c < 3; c++) data[4 * i + c] = gap ? 255 : edge ? colour[c] : (data[4 * i + c] + colour[c]) / 2;
  }
}

function drawNumber(context, answer) {
  const { width, height } = state.photo;
  const place = answer.mask.indexOf(1);
  if (place < 0) return;
  const size = Math.max(14, Math.round(Math.min(width, height) / 16));
  const x = Math.min(place % width, width - size * 1.3), y = Math.max(0, Math.floor(place / width) - size);
  context.fillStyle = "#000";
  context.fillRect(x, y, size * 1.2, size * 1.2);
  context.fillStyle = "#fff";
  context.font = `bold ${size}px sans-serif`;
  context.textBaseline = "top";
  context.fillText(String(answer.number), x + size * 0.25, y + size * 0.12);
}

function drawWord({ data, width, height }) {
  const { selected, similarity } = state.word;
  const rows = (selected || similarity).length, columns = (selected || similarity)[0].length;
  const values = (similarity || []).flat();
  const low = Math.min(...values), range = Math.max(...values) - low || 1;
  for (let i = 0; i < width * height; i++) {
    const row = Math.floor(Math.floor(i / width) * rows / height), column = Math.floor((i % width) * columns / width);
    const chosen = selected ? selected[row][column] : (similarity[row][column] - low) / range;
    for (let c = 0; c < 3; c++) data[4 * i + c] *= 0.25 + 0.75 * chosen;
  }
}

// Words: the pieces of the tokenizer, joined

function wordsOf(answer) {
  const { tokens = [], evidence = {} } = answer;
  const words = [];
  tokens.forEach((token, index) => {
    if (/^\[.*\]$/.test(token) && token !== "[UNK]") return;
    if (token.startsWith("##") && words.length) words.at(-1).text += token.slice(2);
    else words.push({ text: token === "[UNK]" ? "(unknown word)" : token, index });
  });
  const [selected, similarity] = [evidence.selected, evidence.similarity].map((maps) => Array.isArray(maps?.[0]?.[0]) ? maps : null);
  if (!selected && !similarity) return [];
  return words.map(({ text, index }) => ({ text, selected: selected?.[index], similarity: similarity?.[index] }));
}

// The list of answers

function result(answer) {
  if (answer.moments) return resultOfClip(answer);
  const percent = `${Math.round(100 * answer.score)} %`;
  if (answer.present === false) return `${answer.number}: “${answer.expression}” is not in the photo; the chance that it is: ${percent}.`;
  const found = maskOf(answer).includes(1);
  if (!found) return `${answer.number}: “${answer.expression}” was not found.`;
  return `${answer.number}: “${answer.expression}” found, ${answer.present === null ? "score" : "chance"} ${percent}.`;
}

function button(text, action, label, pressed) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.onclick = action;
  if (label) made.setAttribute("aria-label", label);
  if (pressed !== undefined) made.setAttribute("aria-pressed", String(pressed));
  return made;
}

function itemOf(answer) {
  const item = document.createElement("li");
  item.style.setProperty("--colour", answer.colour);
  const title = document.createElement("h3");
  title.textContent = `${answer.number}. ${answer.expression}`;
  const line = document.createElement("p");
  line.textContent = result(answer).replace(/^\d+: /, "");
  const actions = document.createElement("div");
  actions.className = "row";
  const about = `answer ${answer.number}, ${answer.expression}`;
  actions.append(
    button(answer.shown ? "Hide" : "Show", () => { answer.shown = !answer.shown; render(`toggle-${answer.number}`); }, `${answer.shown ? "Hide" : "Show"} ${about}`),
    button("Remove", () => { state.answers = state.answers.filter((one) => one !== answer); state.word = null; render("sentence"); }, `Remove ${about}`),
    button("Save mask PNG", () => saveMask(answer), `Save mask PNG of ${about}`),
  );
  actions.firstChild.id = `toggle-${answer.number}`;
  item.append(title, line, actions);
  const words = wordsOf(answer);
  if (words.length) {
    const row = document.createElement("div");
    row.className = "row words";
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", `Words of ${about}`);
    words.forEach((word, index) => {
      const isShown = state.word?.id === `word-${answer.number}-${index}`;
      const one = button(word.text, () => { const id = one.id; state.word = isShown ? null : { ...word, id }; render(id); }, undefined, isShown);
      one.id = `word-${answer.number}-${index}`;
      row.append(one);
    });
    item.append(row);
  }
  return item;
}

function render(focused) {
  if (state.clip?.frames.length) showFrame(state.clip.position); else draw();
  at("answers").replaceChildren(...state.answers.map(itemOf));
  at("stage").hidden = !state.photo;
  at("downloads").hidden = !state.answers.length;
  at("words-hint").hidden = !state.answers.some((answer) => wordsOf(answer).length);
  const notes = [...new Set(state.answers.flatMap((answer) => answer.notes))];
  at("notes").replaceChildren(...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  const found = state.answers.filter((answer) => answer.shown).map((answer) => answer.expression);
  const name = state.file?.name || "pasted photo";
  at("picture").setAttribute("aria-label", state.word ? `What the word “${state.word.text}” chose` : `${state.clip ? "Clip" : "Photo"} ${name}${found.length ? `, marked: ${found.join("; ")}` : ""}`);
  at("caption").textContent = state.photo ? `${name}, ${state.photo.width} × ${state.photo.height}` : "";
  if (focused) at(focused)?.focus();
}

function say(text) { at("status").textContent = text; }
function busy(is) { at("cancel").hidden = !is; at("answers").setAttribute("aria-busy", String(is)); }
function showThreshold() { at("threshold-value").textContent = Number(at("threshold").value).toFixed(2); }

// Photos

async function open(file) {
  if (!file) return;
  state.request?.abort();
  try {
    const isClip = file.type.startsWith("video/");
    const photo = await (isClip ? firstFrameOf(file) : createImageBitmap(file)); // upright, as the server sees it
    forgetClip();
    state.photo?.close();
    Object.assign(state, { photo, file, answers: [], word: null, clip: isClip ? { frames: [], position: 0 } : null });
    nextNumber = 1;
    at("error").textContent = "";
    say(`${file.name || "The photo"} is open. Type what to look for.`);
    render("sentence");
  } catch {
    at("error").textContent = `${file.name || "This"} is not a photo that the browser can read; use PNG or JPEG.`;
  }
}

async function openExample({ file, sentence }) {
  const blob = await (await fetch(file)).blob();
  await open(new File([blob], file, { type: blob.type }));
  at("sentence").value = sentence;
}

// Files to save

function save(name, blob) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function saveMask(answer) {
  const { width, height } = state.photo;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const image = new ImageData(width, height);
  maskOf(answer).forEach((is, i) => image.data.set([255 * is, 255 * is, 255 * is, 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
  const frame = state.clip ? `-frame-${state.clip.frames[state.clip.position].frame}` : "";
  canvas.toBlob((blob) => save(`mask-${answer.number}${frame}.png`, blob));
}

// COCO's compressed run lengths: column by column, background first, each run from the third as a difference.
function compressed(mask, width, height) {
  const runs = [];
  let value = 0, length = 0;
  for (let x = 0; x < width; x++) for (let y = 0; y < height; y++) {
    if (mask[y * width + x] !== value) { runs.push(length); length = 0; value = 1 - value; }
    length++;
  }
  runs.push(length);
  let text = "";
  runs.forEach((run, i) => {
    let rest = i > 2 ? run - runs[i - 2] : run;
    for (let more = true; more;) {
      let bits = rest & 31;
      rest >>= 5;
      more = bits & 16 ? rest !== -1 : rest !== 0;
      text += String.fromCharCode((more ? bits | 32 : bits) + 48);
    }
  });
  return text;
}

function saveCoco() {
  const { width, height } = state.photo;
  const names = [...new Set(state.answers.map((answer) => answer.expression))];
  const annotations = [];
  const add = (answer, { score, ...moment }, image_id) => {
    const mask = maskOf(moment);
    let area = 0, left = width, top = height, right = -1, bottom = -1;
    mask.forEach((is, i) => {
      if (!is) return;
      area++;
      left = Math.min(left, i % width); right = Math.max(right, i % width);
      top = Math.min(top, Math.floor(i / width)); bottom = Math.max(bottom, Math.floor(i / width));
    });
    const bbox = area ? [left, top, right - left + 1, bottom - top + 1] : [0, 0, 0, 0];
    const segmentation = { size: [height, width], counts: compressed(mask, width, height) };
    annotations.push({ id: annotations.length + 1, image_id, category_id: names.indexOf(answer.expression) + 1, iscrowd: 0, area, bbox, segmentation, score, caption: answer.expression });
  };
  for (const answer of state.answers) (answer.moments || [answer]).forEach((moment, index) => add(answer, moment, index + 1));
  const name = state.file.name || "photo.png";
  const images = (state.clip?.frames || [{}]).map(({ frame, time }, index) => ({ id: index + 1, file_name: name, width, height, ...(frame === undefined ? {} : { frame, time }) }));
  const coco = { images, categories: names.map((name, index) => ({ id: index + 1, name })), annotations };
  save("deixis-coco.json", new Blob([JSON.stringify(coco)], { type: "application/json" }));
}

// What the user does

at("file").onchange = (event) => open(event.target.files[0]);
at("drop").ondragover = (event) => { event.preventDefault(); at("drop").classList.add("over"); };
at("drop").ondragleave = () => at("drop").classList.remove("over");
at("drop").ondrop = (event) => { event.preventDefault(); at("drop").classList.remove("over"); open(event.dataTransfer.files[0]); };
document.addEventListener("paste", (event) => { const file = event.clipboardData?.files[0]; if (file) open(file); });
for (const example of document.querySelectorAll(".example")) example.onclick = () => openExample(example.dataset);
at("ask").onsubmit = (event) => {
  event.preventDefault();
  const sentence = at("sentence").value.trim();
  if (!state.file) at("error").textContent = "There is no photo yet; choose one first.";
  else if (!sentence) at("error").textContent = "Type what to look for, such as “the red cup”.";
  else ask(sentence);
};
at("cancel").onclick = () => state.request?.abort();
at("threshold").oninput = () => { showThreshold(); state.word = null; render(); };
at("threshold").onchange = () => { const last = state.answers.at(-1); if (last) say(result(last)); };
at("save-overlay").onclick = () => { state.word = null; render(); at("picture").toBlob((blob) => save("overlay.png", blob)); };
at("save-coco").onclick = saveCoco;
at("token-form").onsubmit = (event) => { event.preventDefault(); state.token = at("token").value; loadModel(); };
loadModel();
