// Keys 1 to 6 press the buttons; without scripts the tab key does. A second press sends nothing.
"use strict";
const form = document.querySelector("form.answers");
let sent = false;
form.addEventListener("submit", (event) => {
  if (sent) event.preventDefault();
  sent = true;
});
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const button = form.querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
  if (button) button.click();
});
// A page that the back button brings from memory would show an old image: ask the server where we are.
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
