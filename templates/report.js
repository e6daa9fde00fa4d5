"use strict";
// M switches all class maps; printing opens what is folded. The page works without either.
const heat = document.getElementById("heat");
document.addEventListener("keydown", (event) => {
  const typing = event.ctrlKey || event.metaKey || event.altKey;
  if (heat && !typing && event.key.toLowerCase() === "m") heat.click();
});
let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open])")];
  folded.forEach((part) => { part.open = true; });
});
addEventListener("afterprint", () => folded.forEach((part) => { part.open = false; }));
