"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(field.value);
    } else {
      document.execCommand("copy"); // Over http, browsers have no other way.
    }
    button.textContent = "Copied";
  });
}

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !window.confirm(question)) {
    event.preventDefault();
  }
});

// The newest is at the right, where a narrow screen does not begin.
const showNewest = (root) => {
  for (const chart of root.querySelectorAll(".chart")) {
    chart.scrollLeft = chart.scrollWidth;
  }
};
showNewest(document);

const AGAIN_MS = 30_000;

for (const picture of document.querySelectorAll("[data-live]")) {
  const says = document.getElementById(picture.dataset.says);
  const say = (text) => {
    says.hidden = false;
    says.textContent = text;
  };
  const show = (event) => {
    // What others wrote is escaped where this is made, on the server.
    const next = document.createElement("template");
    next.innerHTML = event.data;
    const [before, after] = [[...picture.children], [...next.content.children]];
    if (before.length !== after.length) {
      picture.replaceChildren(...after);
      showNewest(picture);
      return;
    }
    // What has not changed stays: somebody may be reading it.
    before.forEach((part, place) => {
      if (!part.isEqualNode(after[place])) {
        part.replaceWith(after[place]);
        showNewest(after[place]);
      }
    });
  };
  const follow = () => {
    const events = new EventSource(picture.dataset.live);
    events.addEventListener("open", () => say("Live"));
    events.addEventListener("message", show);
    events.addEventListener("error", () => {
      if (events.readyState !== EventSource.CLOSED) {
        say("Not live: trying again …");
        return;
      }
      // It was answered with an error, or something else that is no events: browsers do not come back by themselves.
      say("Not live: trying again in half a minute. If that does not help, load the page again.");
      setTimeout(follow, AGAIN_MS);
    });
  };
  follow();
}

const shortcut = document.querySelector("[data-shortcut]");
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea, [contenteditable]");
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
  if (shortcut && isPlain && !isTyping && event.key === shortcut.dataset.shortcut) {
    event.preventDefault();
    shortcut.focus();
    shortcut.select();
  }
});
