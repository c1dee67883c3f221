// Shows times in the reader's own zone, and renews the page each minute while somebody looks at it. Without this script
// times are in UTC and nothing else is missing.
"use strict";

(() => {
  const today = new Date();
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const form = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZoneName: "short" };
    if (time.classList.contains("s")) form.second = "2-digit";
    if (at.toDateString() !== today.toDateString() || form.second) Object.assign(form, { day: "numeric", month: "short" });
    if (at.getFullYear() !== today.getFullYear() || form.second) form.year = "numeric";
    time.title = time.textContent;
    time.textContent = new Intl.DateTimeFormat("en-GB", form).format(at).replace(",", "");
  }
  setInterval(() => {
    const isRead = document.visibilityState === "visible" && String(document.getSelection()) === "";
    if (isRead && !location.pathname.startsWith("/docs/")) location.reload();
  }, 60000);
})();
