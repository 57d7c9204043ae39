// What every page does a little better with a script; all of it works without.
"use strict";

// Times as this device has them; the page says UTC.
function localTimes(root) {
  const page = document.documentElement.lang;
  const language = navigator.language.startsWith(page) ? navigator.language : page;
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    time.title = time.textContent + " UTC";
    time.textContent = at.toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
  }
}

// A slider says where it is: <input type="range" data-says="id of an output">.
document.addEventListener("input", (event) => {
  const says = event.target.dataset.says;
  if (says) document.getElementById(says).textContent = event.target.value;
});

// Filters take effect when they are chosen, where their form says so.
document.addEventListener("change", (event) => {
  const form = event.target.form;
  if (form && form.dataset.sends === "at-once") form.requestSubmit();
});

// Keys that press what carries them: <button data-key="a">. Not while somebody types.
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.isComposing) return; // a key held down would decide on one entry after the other
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  const pressed = document.querySelector(`[data-key="${CSS.escape(event.key)}"]:not(:disabled)`);
  if (!pressed) return;
  event.preventDefault();
  if (pressed.matches("textarea, input, select")) pressed.focus();
  else pressed.click();
});

// A double click is one click.
document.addEventListener("submit", (event) => {
  const form = event.target;
  const pressed = event.submitter ? `${event.submitter.name}=${event.submitter.value}` : "";
  if (form.method !== "post" || form.matches("[data-streams]")) return;
  if (form.dataset.sent === pressed) {
    event.preventDefault();
    event.stopImmediatePropagation();
    return;
  }
  form.dataset.sent = pressed;
  setTimeout(() => delete form.dataset.sent, 2000);
}, true);

// What was sent out of something unfolded is folded away; what else is half written stays.
document.addEventListener("htmx:after:swap", (event) => {
  localTimes(document);
  const form = event.detail.ctx.sourceElement;
  if (event.detail.ctx.target?.id === "problem" || !form?.matches("details form")) return;
  form.reset();
  form.closest("details").open = false;
});
localTimes(document);
