// The chat page with a script: replies appear as they are written, and can be stopped. The server makes all markup.
"use strict";

(() => {
  const thread = document.getElementById("thread");
  const composer = document.querySelector(".composer");
  if (!thread || !composer) return;
  const message = composer.elements.message;
  const stop = composer.querySelector("[data-stop]");
  const status = composer.querySelector("[data-status]");
  const error = composer.querySelector("[data-error]");
  let running = null;

  const past = document.querySelector(".past");
  if (past && window.matchMedia("(min-width: 52.01rem)").matches) past.open = true;

  const atEnd = () => window.innerHeight + window.scrollY > document.body.scrollHeight - 160;
  const toEnd = () => window.scrollTo({ top: document.body.scrollHeight });
  const parsed = (html) => {
    const made = document.createElement("template");
    made.innerHTML = html;
    return made.content.firstElementChild;
  };
  const grow = () => {
    message.rows = Math.min(12, Math.max(2, message.value.split("\n").length));
  };

  // The composer goes on from the reply that is shown last.
  function goOnFrom(turn) {
    if (turn.dataset.conversation) composer.elements.conversation.value = turn.dataset.conversation;
    if (turn.dataset.completion) {
      composer.elements.completion_id.value = turn.dataset.completion;
      composer.elements.choice.value = turn.dataset.choice;
    }
  }

  // A new conversation has an address, and a place in the list, from its first reply on.
  function begin(event) {
    history.replaceState({}, "", event.url);
    const list = document.querySelector(".past ul");
    list.querySelector(".muted")?.remove();
    const link = document.createElement("a");
    link.href = event.url;
    link.textContent = event.title;
    link.setAttribute("aria-current", "page");
    const item = document.createElement("li");
    item.append(link);
    list.prepend(item);
    for (const to of document.querySelectorAll("a[href^='/preferences?']")) {
      const address = new URL(to.href);
      address.searchParams.set("next", event.url);
      to.href = address.pathname + address.search;
    }
  }

  function showError(text) {
    error.textContent = text;
    error.hidden = !text;
  }

  function setRunning(control) {
    running = control;
    stop.hidden = !control;
    for (const button of document.querySelectorAll("form[data-streams] button:not([data-stop])")) {
      button.disabled = Boolean(control);
    }
    thread.setAttribute("aria-busy", control ? "true" : "false");
  }

  async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let waiting = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      waiting += value;
      let end;
      while ((end = waiting.indexOf("\n\n")) >= 0) {
        const [name, data] = waiting.slice(0, end).split("\ndata: ");
        waiting = waiting.slice(end + 2);
        if (data) yield { name: name.replace("event: ", ""), ...JSON.parse(data) };
      }
    }
  }

  function put(turn, old) {
    if (old) old.replaceWith(turn);
    else thread.append(turn);
    if (window.htmx) window.htmx.process(turn);
    goOnFrom(turn);
    return turn;
  }

  async function send(form, submitter) {
    if (running) return;
    const control = new AbortController();
    const again = form !== composer;
    const before = again ? form.closest(".turn") : null;
    const said = message.value;
    const body = new URLSearchParams(new FormData(form, submitter)); // before its button is disabled
    showError("");
    setRunning(control);
    status.textContent = status.dataset.writing;
    let turn = null;
    let ended = false;
    try {
      const response = await fetch(form.action, {
        method: "POST",
        body,
        headers: { accept: "text/event-stream" },
        signal: control.signal,
      });
      for await (const event of events(response)) {
        const follow = atEnd();
        if (event.name === "begun") {
          thread.querySelector(".hello")?.remove();
          turn = parsed(event.html);
          if (again) before.replaceWith(turn);
          else thread.append(turn);
          composer.elements.conversation.value = event.conversation;
          composer.querySelector(".picker")?.remove();
          if (location.pathname === "/") begin(event);
          if (!again) message.value = "";
          grow();
          toEnd();
        } else if (event.name === "text" && turn) {
          turn.querySelector("[data-words]").innerHTML = event.html;
          if (follow) toEnd();
        } else if (event.name === "done") {
          ended = true;
          turn = put(parsed(event.html), turn);
          status.textContent = status.dataset.ready;
          if (follow) toEnd();
        } else if (event.name === "failed") {
          ended = true;
          if (event.html) put(parsed(event.html), turn);
          showError(event.message);
          if (!again && !message.value) message.value = said;
        }
      }
      if (!ended) throw new TypeError("cut");
    } catch (problem) {
      if (problem.name !== "AbortError") {
        showError(status.dataset.lost);
        if (!again && !message.value) message.value = said;
      }
      await settle(turn);
    } finally {
      setRunning(null);
      const choice = thread.querySelector(".turn:last-child .half > form button");
      (choice || message).focus({ preventScroll: true }); // so that 1 and 2 choose
    }
  }

  // What had been written when it was stopped, once the server has stored it.
  async function settle(turn) {
    if (!turn) return;
    const address = `/c/${encodeURIComponent(composer.elements.conversation.value)}/turn`;
    for (let tries = 0; tries < 20; tries += 1) {
      const response = await fetch(address).catch(() => null);
      const fresh = response?.ok ? parsed(await response.text()) : null;
      if (fresh && !fresh.querySelector("[data-writing-still]")) {
        put(fresh, turn);
        return;
      }
      await new Promise((ready) => setTimeout(ready, 150));
    }
  }

  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-streams]")) return;
    event.preventDefault();
    send(event.target, event.submitter);
  });
  stop.addEventListener("click", () => running?.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") running?.abort();
  });
  message.addEventListener("input", grow);
  message.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (message.value.trim()) composer.requestSubmit(composer.querySelector("[data-send]"));
  });
  if (thread.querySelector(".turn")) toEnd();
})();
