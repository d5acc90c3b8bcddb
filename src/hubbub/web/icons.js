// Icons, drawn as strokes in a square of 24: no font and no file is fetched for them.

const NAMESPACE = "http://www.w3.org/2000/svg";

const PATHS = {
  at: "M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0Zm0 0v1.500a2.5 2.5 0 0 0 5 0V12a9 9 0 1 0-3.5 7.1",
  back: "M15 5l-7 7 7 7",
  bell: "M6 9.500a6 6 0 0 1 12 0c0 6 2.5 7 2.5 7h-17s2.5-1 2.5-7ZM10 20a2.2 2.2 0 0 0 4 0",
  "bell-off": "M8.5 4.700A6 6 0 0 1 18 9.500c0 1.9.25 3.3.6 4.400M15.5 16.500h-12s2.5-1 2.5-7c0-.5.06-1 .18-1.480M10 20a2.2 2.2 0 0 0 4 0M4 3l16 18",
  bold: "M7 5h6a3.5 3.5 0 0 1 0 7H7ZM7 12h7a3.5 3.5 0 0 1 0 7H7Z",
  check: "M5 12.500l4.5 4.500L19 7.5",
  close: "M6 6l12 12M18 6L6 18",
  code: "M8.5 7L4 12l4.5 5M15.5 7L20 12l-4.5 5",
  copy: "M9 9h10v11H9ZM15 9V4H5v11h4",
  dialog: "M4 5h16v11H10l-4 4v-4H4Z",
  down: "M12 5v13M6 12.500l6 6 6-6",
  edit: "M4 20l1-4.500L16.5 4 20 7.5 8.5 19ZM14 6.500l3.5 3.5",
  gear: "M12 15.200a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.400ZM10.3 3.500h3.400l.5 2.5 1.9 1.1 2.4-.85 1.7 2.950-1.9 1.650v2.300l1.9 1.650-1.7 2.950-2.4-.85-1.9 1.1-.5 2.500h-3.400l-.5-2.5-1.9-1.1-2.4.85-1.7-2.950 1.9-1.650v-2.300L3.8 9.200l1.7-2.950 2.4.85L9.8 6Z",
  hash: "M9.5 4L7.5 20M16.5 4l-2 16M4.5 9h16M3.5 15h16",
  italic: "M10 5h8M6 19h8M14.5 5l-5 14",
  keyboard: "M3 6h18v12H3ZM7 10h.01M11 10h.01M15 10h.01M8 14h8",
  leave: "M14 4H5v16h9M10 12h11M17 8l4 4-4 4",
  link: "M10 14a4 4 0 0 0 6 .3l3-3a4 4 0 0 0-5.7-5.700l-1.2 1.200M14 10a4 4 0 0 0-6-.3l-3 3a4 4 0 0 0 5.7 5.700l1.2-1.2",
  lock: "M6 11h12v9H6ZM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  menu: "M4 7h16M4 12h16M4 17h16",
  more: "M4.5 12a1 1 0 1 0 2 0 1 1 0 1 0-2 0M11 12a1 1 0 1 0 2 0 1 1 0 1 0-2 0M17.5 12a1 1 0 1 0 2 0 1 1 0 1 0-2 0",
  people: "M9 11.500a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 19.500a6.5 6.5 0 0 1 13 0M16 5a3.5 3.5 0 0 1 0 6.500M18 14.200a6.5 6.5 0 0 1 3.5 5.3",
  plus: "M12 5v14M5 12h14",
  quote: "M5 5v14M10 8h9M10 12h9M10 16h6",
  reply: "M10 6l-6 5.5 6 5.500M4.5 11.500H14a6 6 0 0 1 6 6V19",
  retry: "M19.5 12a7.5 7.5 0 1 1-2.4-5.500M19.5 3.500v4h-4",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14ZM16 16l5 5",
  send: "M12 19V6M6 11.500L12 5.500l6 6",
  smile: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM8 14.500a4.7 4.7 0 0 0 8 0M9 9.500h.01M15 9.500h.01",
  trash: "M4.5 7h15M10 7V4h4v3M6.5 7l1 13h9l1-13M10.5 11v5.500M13.5 11v5.5",
};

// Returns a new <svg>; it says nothing to a screen reader, so what it stands on needs a name.
export function icon(name) {
  const svg = document.createElementNS(NAMESPACE, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(NAMESPACE, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

// Fills what the HTML says by data-icon="name".
export function drawIcons(root) {
  for (const element of root.querySelectorAll("[data-icon]")) {
    element.prepend(icon(element.dataset.icon));
    delete element.dataset.icon;
  }
}
