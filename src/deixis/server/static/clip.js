// A clip on the page: its frames come with the first answer, a slider and a button choose which one is shown.
"use strict";

async function askClip(clip, sentence, signal) {
  const isFirst = !state.clip.frames.length;
  const { frames } = await post("v1/clip", { clip, sentence, images: isFirst ? "1" : "0" }, signal);
  const known = isFirst ? await Promise.all(frames.map(pictureOf)) : state.clip.frames;
  const moments = await Promise.all(frames.map(async ({ answers: [{ score, present, probability }] }, index) => (
    { score, present, levels: await levelsOf(probability, known[index].photo) }
  )));
  const notes = [...new Set(frames.flatMap(({ answers }) => answers[0].notes))];
  return { expression: sentence, notes, moments, known };
}

async function pictureOf({ frame, time, image }) {
  return { frame, time, photo: await imageOf(image, "image/jpeg") };
}

// What the browser can show before the first answer; null for a file that it cannot play.
async function firstFrameOf(file) {
  const video = Object.assign(document.createElement("video"), { muted: true, preload: "auto", src: URL.createObjectURL(file) });
  try {
    await new Promise((loaded, failed) => { video.onloadeddata = loaded; video.onerror = failed; });
    return await createImageBitmap(video);
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(video.src);
  }
}

function useFrames(answer) {
  const { clip } = state;
  if (!clip.frames.length) {
    state.photo?.close();
    clip.frames = answer.known;
    at("frame").max = clip.frames.length - 1;
    at("player").hidden = false;
  }
}

function showFrame(position) {
  const { clip, answers } = state;
  const { photo, time, frame } = clip.frames[position];
  Object.assign(clip, { position });
  state.photo = photo;
  for (const answer of answers) Object.assign(answer, answer.moments[position]);
  at("frame").value = position;
  at("frame-text").textContent = `${time === null ? `frame ${frame}` : `${time.toFixed(2)} s`}, ${position + 1} of ${clip.frames.length}`;
  at("frame").setAttribute("aria-valuetext", `${at("frame-text").textContent}; ${answers.map(momentText).join(", ")}`);
  draw();
}

function momentText(answer) {
  return `${answer.number} ${maskOf(answer).includes(1) ? `found, ${Math.round(100 * answer.score)} %` : "not found"}`;
}

function resultOfClip({ number, expression, moments }) {
  const found = moments.filter((moment) => maskOf(moment).includes(1));
  const highest = (some) => `${Math.round(100 * Math.max(...some.map(({ score }) => score)))} %`;
  if (found.length) return `${number}: “${expression}” found in ${found.length} of ${moments.length} frames, score up to ${highest(found)}.`;
  const absent = moments.every(({ present }) => present === false);
  return absent ? `${number}: “${expression}” is not in the clip; the highest chance in a frame: ${highest(moments)}.` : `${number}: “${expression}” was not found.`;
}

function play() {
  const { clip } = state;
  if (clip.timer) return pause();
  if (clip.position === clip.frames.length - 1) showFrame(0);
  at("play").textContent = "Pause";
  const step = () => {
    const [now, next] = clip.frames.slice(clip.position, clip.position + 2);
    if (!next) return pause();
    clip.timer = setTimeout(() => { showFrame(clip.position + 1); step(); }, 1000 * ((next.time - now.time) || 0.2));
  };
  step();
}

function pause() {
  if (!state.clip) return;
  clearTimeout(state.clip.timer);
  state.clip.timer = null;
  at("play").textContent = "Play";
}

function forgetClip() {
  pause();
  for (const { photo } of state.clip?.frames || []) photo.close();
  at("player").hidden = true;
}

document.getElementById("play").onclick = play;
document.getElementById("frame").oninput = (event) => { pause(); showFrame(Number(event.target.value)); };
