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

// On a narrow screen the menu is a line that is longer than the screen: it begins where one is.
const here = document.querySelector("nav [aria-current]");
if (here) {
  const menu = here.closest("nav");
  menu.scrollLeft = here.offsetLeft - (menu.clientWidth - here.offsetWidth) / 2;
}

// The newest is at the right, where a narrow screen does not begin.
const showNewest = (root) => {
  for (const chart of root.querySelectorAll(".chart")) {
    chart.scrollLeft = chart.scrollWidth;
  }
};
showNewest(document);

// Has a part of the page be like another, changing only what differs: somebody may be reading it, have opened it, or be
// there with the keyboard.
const renew = (part, next) => {
  if (part.nodeName !== next.nodeName) {
    part.replaceWith(next);
    return;
  }
  if (!(part instanceof Element)) {
    part.nodeValue = next.nodeValue;
    return;
  }
  for (const { name } of [...part.attributes]) {
    if (name !== "open" && !next.hasAttribute(name)) {
      part.removeAttribute(name);
    }
  }
  for (const { name, value } of next.attributes) {
    part.setAttribute(name, value);
  }
  renewChildren(part, next);
};
const renewChildren = (part, next) => {
  const [before, after] = [[...part.childNodes], [...next.childNodes]];
  after.forEach((child, place) => {
    if (place >= before.length) {
      part.append(child);
    } else if (!before[place].isEqualNode(child)) {
      renew(before[place], child);
    }
  });
  before.slice(after.length).forEach((child) => child.remove());
};

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
    renewChildren(picture, next.content);
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
