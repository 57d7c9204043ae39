// <button data-copy="ID">: puts what that field holds on the clipboard, where the browser lets it.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    await navigator.clipboard.writeText(field.value);
    button.setAttribute("aria-pressed", "true");
  });
}
