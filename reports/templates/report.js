(() => {
  const rows = [...document.querySelectorAll(".matrix tbody tr")];
  const bar = document.getElementById("filter");
  if (!rows.length || !bar) return;
  const names = { PASS: "pass", FAIL: "fail", ERROR: "error", INCONCLUSIVE: "inconclusive", NOT_RUN: "not run" };
  let wanted = "";
  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "Find a clause or a word";
  field.setAttribute("aria-label", "Find a clause or a word");
  const status = document.createElement("small");
  status.setAttribute("role", "status");
  const apply = () => {
    const text = field.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = (wanted && row.dataset.result !== wanted) || (text && !row.textContent.toLowerCase().includes(text));
      shown += row.hidden ? 0 : 1;
    }
    for (const table of document.querySelectorAll(".matrix")) {
      const empty = !table.querySelector("tbody tr:not([hidden])");
      table.parentElement.hidden = empty;
      table.parentElement.previousElementSibling.hidden = empty;
    }
    status.textContent = shown === rows.length ? "" : shown + " of " + rows.length + " clauses";
  };
  const button = (label, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = label;
    made.addEventListener("click", () => act(made));
    bar.append(made);
    return made;
  };
  const choices = [];
  const choose = (result) => (made) => {
    wanted = result;
    for (const other of choices) other.setAttribute("aria-pressed", String(other === made));
    apply();
  };
  choices.push(button("all " + rows.length, choose("")));
  for (const [result, name] of Object.entries(names)) {
    const number = rows.filter((row) => row.dataset.result === result).length;
    if (number) choices.push(button(name + " " + number, choose(result)));
  }
  choices.forEach((made, index) => made.setAttribute("aria-pressed", String(index === 0)));
  const details = () => document.querySelectorAll(".matrix details");
  button("unfold the steps", (made) => {
    const open = made.textContent.startsWith("unfold");
    for (const one of details()) one.open = open;
    made.textContent = open ? "fold the steps" : "unfold the steps";
  });
  field.addEventListener("input", apply);
  bar.append(field, status);
  bar.hidden = false;
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open]):not(.long)")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
  const show = () => {
    const row = location.hash.startsWith("#clause-") && document.getElementById(location.hash.slice(1));
    const one = row && row.querySelector("details");
    if (one) one.open = true;
  };
  addEventListener("hashchange", show);
  show();
})();
