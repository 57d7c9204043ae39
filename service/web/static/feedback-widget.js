// What people think of replies, said on any page: docs/widget.md. Nothing but text is ever made of what comes in.
"use strict";
(() => {
  const script = document.currentScript ?? document.querySelector("script[data-key]");
  const home = new URL(".", script.src).href;
  const WORDS = {
    about: "Feedback on this reply|对此回复的反馈", good: "Good reply|回复得好", bad: "Bad reply|回复得不好",
    rating: "Rating|评分", comment: "Comment|评论", correction: "Correction|更正",
    report: "Report|举报", survey: "Survey|问卷", tags: "Tags|标签",
    think: "What do you think of it?|您觉得怎么样？", right: "What is the right reply?|正确的回复是什么？",
    wrongs: "What is wrong with it?|有什么问题？", more: "More, if you like|补充（可选）",
    abuse: "Abuse|辱骂", bias: "Bias|偏见", privacy: "Privacy|隐私", wrong: "Wrong|错误", other: "Other|其他",
    anonymous: "Stay anonymous|匿名", send: "Send|提交", cancel: "Cancel|取消", thanks: "Thank you.|谢谢。",
    back: "Take back|撤回", gone: "Taken back.|已撤回。", became: "What became of it?|查看结果",
    shut: "Feedback isn’t possible here.|这里无法提交反馈。",
    failed: "That didn’t work. Try again.|没有成功，请重试。",
  };
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
:host { display: block }
section { --back: light-dark(#fffdfa, #1b1815); --on: light-dark(#9a4a0b, #f0a868);
  font: 14px/1.45 system-ui, sans-serif; color: light-dark(#241d17, #ece5dd); background: var(--back); border-radius: 9px; padding: 6px }
header, li { display: flex; flex-wrap: wrap; gap: 5px; align-items: center }
button, textarea { font: inherit; color: inherit; background: var(--back); border: 1px solid light-dark(#8d8073, #7d7166); border-radius: 8px; padding: 4px 10px; min-height: 30px }
[aria-pressed=true], [aria-expanded=true], a { color: var(--on) }
svg { width: 18px; height: 18px; fill: none; stroke: currentcolor; stroke-width: 1.8; display: block }
[aria-pressed=true] svg { fill: currentcolor }
form, label, textarea { display: grid; gap: 8px; max-width: 36rem; box-sizing: border-box; width: 100% }
fieldset { border: 0; padding: 0; margin: 0 }
fieldset label, .tick { display: inline-flex; width: auto; margin-inline-end: 12px }
ul, p, form { list-style: none; margin: 5px 0 0; padding: 0 }`);

  function make(tag, attributes, ...inside) {
    const svg = tag === "svg" || tag === "path";
    const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value?.call) made.addEventListener(name, value);
      else if (value !== undefined) made.setAttribute(name, value);
    }
    made.append(...inside);
    return made;
  }

  async function call(path, options, key) {
    const headers = { authorization: `Bearer ${script.dataset.key}`, "content-type": "application/json" };
    if (key) headers["idempotency-key"] = key;
    const answer = await fetch(`${home}v1/feedback${path}`, { credentials: "omit", headers, ...options });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error.message);
    return said;
  }

  function widget(place, completion_id, choice) {
    const language = script.dataset.lang ?? place.closest("[lang]")?.lang ?? navigator.language;
    const lang = language.startsWith("zh") ? "zh" : "en";
    const t = (name) => WORDS[name].split("|")[lang === "zh" ? 1 : 0];
    let form, opener, rated, tried;
    let queue = Promise.resolve();

    const thumbs = [1, -1].map((value) => {
      const d = "M3 10h4v10H3zM7 11l4-8a2 2 0 0 1 2 2v4h6a2 2 0 0 1 2 2l-2 7a2 2 0 0 1-2 2H7z";
      const path = make("path", { d, transform: `rotate(${value > 0 ? 0 : 180} 12 12)` });
      const drawn = make("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, path);
      const label = t(value > 0 ? "good" : "bad");
      return make("button", { "aria-label": label, "aria-pressed": "false", click: () => rate(value) }, drawn);
    });
    const bar = make("header", { role: "group", "aria-label": t("about") }, ...thumbs);
    const panel = make("div", { keydown: (event) => event.key === "Escape" && close() });
    const status = make("p", { role: "status" });
    const given = make("ul", {});
    const host = make("burnish-feedback", {});
    host.style.colorScheme = place.dataset.theme ?? script.dataset.theme ?? "";
    const root = host.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet];
    root.append(make("section", { lang }, bar, panel, status, given));
    new IntersectionObserver((seen, watch) => {
      if (!seen.some((one) => one.isIntersecting)) return;
      watch.disconnect();
      load();
    }).observe(host);

    async function load() {
      form = await call(`/form?${new URLSearchParams({ completion_id, choice })}`).catch((error) => complain(error, "shut"));
      thumbs.forEach((one) => (one.disabled = !form));
      if (!form) return;
      if (!form.kinds.includes("rating")) thumbs.forEach((one) => one.remove());
      for (const kind of ["comment", "correction", "report", "survey"]) {
        if (!form.kinds.includes(kind) || (kind === "survey" && !form.survey)) continue;
        const click = ({ currentTarget }) => (opener === currentTarget ? close() : open(kind, currentTarget));
        bar.append(make("button", { "aria-expanded": "false", click }, t(kind)));
      }
    }

    const words = (name, label, required) => make("label", {}, label, make("textarea", { name, required }));
    const tick = (type, name, value, label) => make("label", { class: "tick" }, make("input", { type, name, value }), label);
    const group = (label, ticks) => make("fieldset", {}, make("legend", {}, label), ...ticks);
    const fields = {
      comment: () => [
        form.tags.length && group(t("tags"), form.tags.map((one) => tick("checkbox", "tags", one, one))),
        words("comment", t("think"), rated ? undefined : ""),
      ],
      correction: () => [words("value", t("right"), "")],
      report: () => [
        group(t("wrongs"), form.report_categories.map((one) => tick("radio", "value", one, t(one)))),
        words("comment", t("more")),
      ],
      survey: () => form.survey.map(({ id, text, kind, options }) => kind === "text" ? words(id, text)
        : group(text, (kind === "csat" ? [1, 2, 3, 4, 5] : options).map((one) => tick("radio", id, one, one)))),
    };

    function open(kind, by) {
      close();
      opener = by;
      opener.setAttribute("aria-expanded", "true");
      const send = make("button", {}, t("send"));
      const submit = (event) => {
        event.preventDefault();
        const body = said(kind, new FormData(event.target));
        if (!body) return close();
        send.disabled = true;
        give(body, by).then(() => (send.disabled = false));
      };
      const asked = fields[kind]().filter(Boolean);
      // a comment goes with the rating, which has been given in somebody's name
      const named = kind === "survey" || (kind === "comment" && rated);
      if (form.anonymous && !named) asked.push(tick("checkbox", "anonymous", "1", t("anonymous")));
      const deeds = make("div", {}, send, " ", make("button", { type: "button", click: close }, t("cancel")));
      panel.append(make("form", { "aria-label": t(kind), submit }, ...asked, deeds));
      if (kind === "report") panel.querySelector("input").required = true;
      panel.querySelector("input, textarea").focus();
    }

    function close() {
      panel.replaceChildren();
      opener?.setAttribute("aria-expanded", "false");
      opener?.focus();
      opener = null;
    }

    function said(kind, data) {
      const aside = { comment: data.get("comment")?.trim() || undefined, anonymous: data.has("anonymous") };
      if (kind === "comment") {
        aside.tags = data.getAll("tags");
        return rated && !aside.anonymous ? { kind: "rating", value: rated, ...aside } : { kind, ...aside };
      }
      if (kind !== "survey") return { kind, value: data.get("value"), ...aside };
      const value = {};
      for (const { id, kind: asked } of form.survey) {
        const answer = data.get(id)?.trim();
        if (answer) value[id] = asked === "csat" ? +answer : answer;
      }
      return Object.keys(value)[0] && { kind, value };
    }

    function rate(value) {
      if (rated === value) takeBack(given.querySelector("[data-kind=rating]"));
      else give({ kind: "rating", value });
    }

    function complain(error, name) {
      console.warn("Burnish:", error.message);
      status.textContent = t(name);
    }

    function press(value) {
      rated = value;
      thumbs.forEach((one, at) => one.setAttribute("aria-pressed", String(value === (at ? -1 : 1))));
    }

    function give(body, by) {
      return once("thanks", async () => {
        const text = JSON.stringify({ completion_id, choice, ...body });
        if (tried?.text !== text) tried = { text, key: crypto.getRandomValues(new Uint32Array(4)).join("-") };
        const { receipt } = await call("", { method: "POST", body: text }, tried.key);
        tried = null;
        if (by && by === opener) close();
        if (body.kind === "rating") press(body.value);
        keep(body.kind, receipt);
      });
    }

    // A newer word replaces the earlier one, but for comments and reports, which add up.
    function keep(kind, receipt) {
      if (kind !== "comment" && kind !== "report") given.querySelector(`[data-kind=${kind}]`)?.remove();
      const line = make("li", { "data-kind": kind, "data-receipt": receipt }, t(kind),
        make("a", { href: `${home}receipt/${receipt}`, target: "_blank", rel: "noopener noreferrer" }, t("became")),
        make("button", { click: () => takeBack(line) }, t("back")));
      given.append(line);
    }

    function takeBack(line) {
      once("gone", async () => {
        await call(`/${line.dataset.receipt}`, { method: "DELETE" });
        if (line.dataset.kind === "rating") press(0);
        line.remove();
        bar.querySelector("button").focus();
      });
    }

    // One after the other, so that a quick second word finds the first one there.
    function once(done, deed) {
      queue = queue.then(deed).then(() => (status.textContent = t(done)), (error) => complain(error, "failed"));
      return queue;
    }

    return host;
  }

  const made = new WeakMap();
  function look() {
    for (const place of document.querySelectorAll("[data-burnish-reply]")) {
      const { burnishReply, choice = 0 } = place.dataset;
      const about = `${burnishReply}:${choice}`;
      const old = made.get(place);
      if (old?.about === about && old.host.isConnected) continue;
      old?.host.remove();
      if (!burnishReply) continue;
      const host = widget(place, burnishReply, +choice);
      made.set(place, { about, host });
      place.append(host);
    }
  }

  function begin() {
    const { completion, choice = 0 } = script.dataset;
    if (completion) {
      const place = make("div", { "data-burnish-reply": completion, "data-choice": choice });
      (script.closest("body") ? script : document.body.lastChild).after(place);
    }
    look();
    const attributeFilter = ["data-burnish-reply", "data-choice"];
    new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter });
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
