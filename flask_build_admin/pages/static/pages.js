// The pages are complete without this script. It adds local times, focus, and one submit per form.
"use strict";

for (const time of document.querySelectorAll(".build-pages time")) {
  const moment = new Date(time.dateTime);
  if (!isNaN(moment) && moment.getTimezoneOffset()) {
    const local = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
    time.title = local;
    time.after(" ", Object.assign(document.createElement("span"), { className: "raw", textContent: local }));
  }
}

document.getElementById("errors")?.focus();

for (const link of document.querySelectorAll(".build-pages .errors a[href^='#']")) {
  link.addEventListener("click", () => {
    const field = document.getElementById(link.getAttribute("href").slice(1));
    field?.closest("details")?.setAttribute("open", "");
    field?.focus();
  });
}

for (const form of document.querySelectorAll(".build-pages form[data-once]")) {
  let sent = -Infinity;
  form.addEventListener("submit", (event) => {
    // A later one is meant: somebody has stopped the first.
    if (event.timeStamp - sent < 2000) event.preventDefault();
    else sent = event.timeStamp;
  });
  // A page that the browser keeps can be sent again after Back.
  window.addEventListener("pageshow", () => { sent = -Infinity; });
}
