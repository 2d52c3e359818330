(() => {
  "use strict";
  const place = document.getElementById("browser");
  const without = document.getElementById("without");
  const packed = document.getElementById("packed");
  const number = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, "\u00a0");
  const make = (tag, properties, ...inside) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name in made && !name.startsWith("aria") && name !== "role") made[name] = value;
      else made.setAttribute(name, value);
    }
    made.append(...inside.filter((one) => one !== null && one !== undefined));
    return made;
  };

  // -- what the page carries ------------------------------------------------------------------------------------------

  const inflate = async (text) => {
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const open = (bytes) => {
    const length = new DataView(bytes.buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
    const columns = {};
    let at = 4 + length;
    for (const [name, size] of head.columns) {
      columns[name] = bytes.subarray(at, at + size);
      at += size;
    }
    return { head, columns };
  };
  const numbers = (raw, count, isDifference) => {
    const found = new Float64Array(count);
    let last = 0;
    for (let at = 0, row = 0; at < raw.length; row += 1) {
      let value = 0;
      let scale = 1;
      while (raw[at] > 127) {
        value += (raw[at] & 127) * scale;
        scale *= 128;
        at += 1;
      }
      value += raw[at] * scale;
      at += 1;
      if (isDifference) {
        value = value % 2 ? -(value + 1) / 2 : value / 2;
        last += value;
        value = last;
      }
      found[row] = value;
    }
    return found;
  };
  const names = (columns, count) => {
    const shared = numbers(columns["id.shared"], count, false);
    const length = numbers(columns["id.length"], count, false);
    const rest = new TextDecoder().decode(columns["id.rest"]);
    const found = new Array(count);
    let last = "";
    for (let row = 0, at = 0; row < count; at += length[row], row += 1) {
      last = last.slice(0, shared[row]) + rest.slice(at, at + length[row]);
      found[row] = last;
    }
    return found;
  };
  const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
  const hex = (bytes, at = 0) => {
    let text = "";
    for (let end = at + 32; at < end; at += 1) text += HEX[bytes[at]];
    return text;
  };
  const moment = (microseconds) => {
    const rest = microseconds % 1000;
    const text = new Date((microseconds - rest) / 1000).toISOString();
    return text.slice(0, -1) + String(rest).padStart(3, "0") + "Z";
  };

  class Rows {
    constructor(name, head, columns) {
      this.head = head;
      this.count = head.rows;
      this.digests = columns[name + ".sha256"];
      this.profile = numbers(columns[name + ".profile"], this.count, false);
      // Rows that stand in the head have no numbers in the columns; the others follow each other.
      const regular = this.count - Object.keys(head.odd).length;
      for (const field of ["size_bytes", "leaf_index", "log_index", "created"]) {
        this[field] = numbers(columns[name + "." + field], regular, true);
      }
      this.rank = new Uint32Array(this.count);
      for (let row = 0, rank = 0; row < this.count; row += 1) {
        this.rank[row] = rank;
        if (!(row in head.odd)) rank += 1;
      }
    }

    line(row, id) {
      const odd = this.head.odd[row];
      if (odd) return { id, ...odd };
      const [kind, media, declared, signers] = this.head.profiles[this.profile[row]];
      const at = this.rank[row];
      const digest = hex(this.digests, row * 32);
      const size = String(this.size_bytes[at]);
      return {
        id, kind, media_type: media, size_bytes: size, sha256: digest, declared_size_bytes: size, declared_sha256: digest,
        declared_signer_key_id: declared, signer_key_ids: signers, leaf_index: String(this.leaf_index[at]),
        log_index: String(this.log_index[at]), created: moment(this.created[at]),
      };
    }

    kind(row) {
      const odd = this.head.odd[row];
      return odd ? odd.kind : this.head.profiles[this.profile[row]][0];
    }

    // Whether a digest of the row begins with these bytes, and half a byte where the text was odd.
    begins(row, wanted) {
      const odd = this.head.odd[row];
      if (odd) return [odd.sha256, odd.declared_sha256].some((text) => text && text.startsWith(wanted.text));
      const at = row * 32;
      for (let index = 0; index < wanted.bytes.length; index += 1) {
        if (this.digests[at + index] !== wanted.bytes[index]) return false;
      }
      return wanted.half < 0 || this.digests[at + wanted.bytes.length] >> 4 === wanted.half;
    }
  }

  // -- SHA-256 and RFC 6962 -------------------------------------------------------------------------------------------

  const ROUND = new Int32Array(64);
  const START = new Int32Array(8);
  for (let candidate = 2, found = 0; found < 64; candidate += 1) {
    let isPrime = true;
    for (let by = 2; by * by <= candidate; by += 1) if (candidate % by === 0) isPrime = false;
    if (!isPrime) continue;
    const root = (power) => ((candidate ** power % 1) * 2 ** 32) | 0;
    if (found < 8) START[found] = root(1 / 2);
    ROUND[found] = root(1 / 3);
    found += 1;
  }
  const words = new Int32Array(64);
  const block = new Uint8Array(64);
  const state = new Int32Array(8);
  const compress = (bytes, from) => {
    for (let i = 0; i < 16; i += 1, from += 4) {
      words[i] = (bytes[from] << 24) | (bytes[from + 1] << 16) | (bytes[from + 2] << 8) | bytes[from + 3];
    }
    for (let i = 16; i < 64; i += 1) {
      const x = words[i - 15];
      const y = words[i - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      words[i] = (words[i - 16] + s0 + words[i - 7] + s1) | 0;
    }
    let a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (let i = 0; i < 64; i += 1) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUND[i] + words[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d; state[4] += e; state[5] += f; state[6] += g; state[7] += h;
  };
  const sha256 = (bytes, length, out, to) => {
    state.set(START);
    let at = 0;
    for (; at + 64 <= length; at += 64) compress(bytes, at);
    const rest = length - at;
    block.fill(0);
    for (let i = 0; i < rest; i += 1) block[i] = bytes[at + i];
    block[rest] = 0x80;
    if (rest > 55) {
      compress(block, 0);
      block.fill(0);
    }
    block[60] = length >>> 21; block[61] = length >>> 13; block[62] = length >>> 5; block[63] = length << 3;
    compress(block, 0);
    for (let i = 0; i < 8; i += 1, to += 4) {
      out[to] = state[i] >>> 24; out[to + 1] = state[i] >>> 16; out[to + 2] = state[i] >>> 8; out[to + 3] = state[i];
    }
  };
  const encoder = new TextEncoder();
  const hashLeaf = (text, out, to) => {
    const data = encoder.encode("\0" + text);
    sha256(data, data.length, out, to);
  };
  const leafHash = (text) => {
    const out = new Uint8Array(32);
    hashLeaf(text, out, 0);
    return hex(out);
  };
  // RFC 8785 JSON: these objects hold texts and whole numbers, which JSON.stringify writes the same way.
  const leafData = (schema, line, digest, size) => {
    const same = '"id":' + JSON.stringify(line.id) + ',"kind":' + JSON.stringify(line.kind) + ',"sha256":' + JSON.stringify(digest);
    return schema === "1" ? "{" + same + "}" : '{"created":' + JSON.stringify(line.created) + "," + same + ',"size_bytes":' + size + "}";
  };
  const entryData = (line) =>
    '{"evidence_id":' + JSON.stringify(line.id) + ',"kind":' + JSON.stringify(line.kind) + ',"sha256":' + JSON.stringify(line.declared_sha256) + "}";
  const grow = (hashes, count) => {
    const levels = [hashes];
    const pair = new Uint8Array(65);
    pair[0] = 1;
    while (count > 1) {
      const above = Math.ceil(count / 2);
      const next = new Uint8Array(above * 32);
      const below = levels[levels.length - 1];
      for (let i = 0; i + 1 < count; i += 2) {
        pair.set(below.subarray(i * 32, i * 32 + 64), 1);
        sha256(pair, 65, next, (i / 2) * 32);
      }
      if (count % 2) next.set(below.subarray((count - 1) * 32, count * 32), (above - 1) * 32);
      levels.push(next);
      count = above;
    }
    return levels;
  };
  const path = (levels, index) => {
    const found = [];
    for (const level of levels.slice(0, -1)) {
      const beside = index ^ 1;
      if (beside * 32 < level.length) found.push((beside < index ? "left  " : "right ") + hex(level, beside * 32));
      index >>= 1;
    }
    return found;
  };

  // -- the list -------------------------------------------------------------------------------------------------------

  const show = ({ head, columns }) => {
    const count = head.items;
    const ids = names(columns, count);
    const states = columns.state;
    const first = new Rows("first", head.first, columns);
    const second = new Rows("second", head.second, columns);
    const CHANGED = head.states.indexOf("changed");
    const later = new Map();
    for (let item = 0; item < count; item += 1) if (states[item] === CHANGED) later.set(item, later.size);
    const findings = new Map();
    for (const [item, ...found] of head.findings) {
      if (!findings.has(item)) findings.set(item, []);
      findings.get(item).push(found);
    }
    const lowered = ids.map((id) => id.toLowerCase());
    const kindNames = [...new Set([...first.head.profiles.filter((one) => one.length).map((one) => one[0]), ...Object.values(first.head.odd).map((one) => one.kind)])].sort();
    const kindNumber = new Map(kindNames.map((name, index) => [name, index]));
    const kinds = new Uint32Array(count);
    for (let item = 0; item < count; item += 1) kinds[item] = kindNumber.get(first.kind(item));
    const lines = (item) => {
      const name = head.states[states[item]];
      const one = first.line(item, ids[item]);
      if (name === "changed") return { before: one, after: second.line(later.get(item), ids[item]) };
      return { before: name === "added" ? null : one, after: name === "missing" ? null : one };
    };

    // Searching: every word must be found in id, kind, state, digest, signer or a finding.
    const asDigest = (word) => {
      const text = word.replace(/^sha256:/, "");
      if (!/^[0-9a-f]{2,64}$/.test(text)) return null;
      const bytes = [];
      for (let at = 0; at + 1 < text.length; at += 2) bytes.push(parseInt(text.slice(at, at + 2), 16));
      return { text, bytes, half: text.length % 2 ? parseInt(text[text.length - 1], 16) : -1 };
    };
    const matcher = (word) => {
      const inKind = kindNames.map((name) => name.toLowerCase().includes(word));
      const inState = head.states.map((name) => name.startsWith(word));
      const digest = asDigest(word);
      const signed = first.head.profiles.map(([, , declared, signers]) => [declared, ...(signers || [])].some((key) => key && word.length > 5 && key.startsWith(word)));
      const refused = new Set();
      for (const [item, found] of findings) if (found.some(([source, code]) => code.includes(word) || source.toLowerCase() === word)) refused.add(item);
      return (item) =>
        inState[states[item]] || inKind[kinds[item]] || lowered[item].includes(word) || signed[first.profile[item]] || refused.has(item) ||
        (digest !== null && (first.begins(item, digest) || (states[item] === CHANGED && second.begins(later.get(item), digest))));
    };
    let wantedState = "";
    let wantedKind = -1;
    let chosen = -1;
    let shown = new Uint32Array(0);
    let tall = 36;

    const field = make("input", { type: "search", placeholder: "id, kind, state, or the beginning of a digest", "aria-label": "Search items", spellcheck: false, autocomplete: "off" });
    const select = make("select", { "aria-label": "Kind" }, make("option", { value: "-1" }, "all kinds"), ...kindNames.map((name, index) => make("option", { value: String(index) }, name)));
    const status = make("p", { role: "status", className: "count" });
    const spacer = make("div", { className: "spacer" });
    const list = make("div", { className: "list", role: "listbox", tabIndex: 0, "aria-label": "Items" }, spacer);
    const detail = make("div", { className: "detail", tabIndex: -1, role: "region", "aria-label": "The chosen item" });
    const buttons = [];
    const amounts = new Map(head.states.map((name, index) => [name, states.reduce((sum, one) => sum + (one === index ? 1 : 0), 0)]));
    const choices = [["", "all", count], ...head.states.map((name) => [name, name, amounts.get(name)]), ["findings", "with findings", findings.size]];
    const bar = make("div", { className: "tools" }, field, select);
    for (const [value, label, amount] of choices) {
      const one = make("button", { type: "button", "aria-pressed": String(value === ""), disabled: !amount && value !== "" }, label + " " + number(amount));
      one.addEventListener("click", () => {
        wantedState = value;
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === one));
        search();
      });
      buttons.push(one);
      bar.append(one);
    }

    const search = () => {
      const began = performance.now();
      const tests = field.value.trim().toLowerCase().split(/\s+/).filter(Boolean).map(matcher);
      const index = head.states.indexOf(wantedState);
      const found = new Uint32Array(count);
      let many = 0;
      for (let item = 0; item < count; item += 1) {
        if (index >= 0 ? states[item] !== index : wantedState === "findings" && !findings.has(item)) continue;
        if (wantedKind >= 0 && kinds[item] !== wantedKind) continue;
        if (tests.every((test) => test(item))) found[many++] = item;
      }
      shown = found.subarray(0, many);
      spacer.style.height = many * tall + "px";
      list.scrollTop = 0;
      status.textContent = many ? number(many) + " of " + number(count) + " items" : "No item matches.";
      list.dataset.tookMs = String(performance.now() - began);
      draw();
    };
    const draw = () => {
      const from = Math.max(0, Math.floor(list.scrollTop / tall) - 8);
      const to = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / tall) + 8);
      const made = [];
      for (let at = from; at < to; at += 1) {
        const item = shown[at];
        const name = head.states[states[item]];
        const row = first.head.odd[item];
        const digest = row ? row.sha256 || "no content" : hex(first.digests, item * 32);
        const one = make("div", { className: "row", role: "option", id: "row-" + item, "aria-selected": String(item === chosen), "aria-setsize": shown.length, "aria-posinset": at + 1 },
          make("span", { className: "state s-" + name }, name),
          make("span", { className: "mono id" }, ids[item]),
          make("span", { className: "kind" }, kindNames[kinds[item]]),
          make("span", { className: "mono digest" }, digest.slice(0, 16) + "…"),
          findings.has(item) ? make("span", { className: "flag" }, number(findings.get(item).length) + (findings.get(item).length === 1 ? " finding" : " findings")) : make("span", { className: "flag" }));
        one.style.top = at * tall + "px";
        one.dataset.item = String(item);
        made.push(one);
      }
      spacer.replaceChildren(...made);
      const active = chosen >= 0 && document.getElementById("row-" + chosen);
      if (active) list.setAttribute("aria-activedescendant", active.id);
      else list.removeAttribute("aria-activedescendant");
    };

    // -- one item -----------------------------------------------------------------------------------------------------

    const value = (it) => (it === null || it === undefined ? make("span", { className: "soft" }, "none") : Array.isArray(it) ? (it.length ? make("code", {}, it.join(" ")) : make("span", { className: "soft" }, "none")) : make("code", {}, it));
    const quoted = (text) => "'" + text.replace(/'/g, "'\\''") + "'";
    const hashed = (title, data, isWrong) => {
      const at = make("div", { className: "hashed" }, make("b", {}, title), isWrong ? make("small", { className: "alarm" }, isWrong) : null);
      at.append(make("small", {}, "bytes"), make("code", { className: "pre" }, data), make("small", {}, "SHA-256 over a zero byte and these bytes"), make("code", { className: "hash" }, leafHash(data)));
      at.append(make("details", {}, make("summary", {}, "the same in a shell"), make("code", { className: "pre" }, "printf '\\000%s' " + quoted(data) + " | sha256sum")));
      return at;
    };
    const trees = new Map();
    const tree = (side, schema) => {
      const key = side + schema;
      if (trees.has(key)) return trees.get(key);
      const size = head[side].items;
      const hashes = new Uint8Array(size * 32);
      const filled = new Uint8Array(size);
      let many = 0;
      for (let item = 0; item < count; item += 1) {
        const line = lines(item)[side];
        if (!line) continue;
        const at = Number(line.leaf_index);
        if (at >= size || filled[at]) continue;
        filled[at] = 1;
        many += 1;
        hashLeaf(leafData(schema, line, line.sha256 === null ? line.declared_sha256 : line.sha256, line.size_bytes === null ? line.declared_size_bytes : line.size_bytes), hashes, at * 32);
      }
      const made = many === size && size > 0 ? grow(hashes, size) : null;
      trees.set(key, made);
      return made;
    };
    const rebuilt = (side, schema, line) => {
      const title = (side === "before" ? "baseline" : "second snapshot") + ", leaf schema " + schema + ", " + number(head[side].items) + " leaves";
      const levels = tree(side, schema);
      if (levels === null) return make("p", {}, title + ": leaves are missing, so there is no root");
      const root = hex(levels[levels.length - 1]);
      const isSame = root === head[side].roots[schema];
      return make("div", { className: "hashed" }, make("b", {}, title), make("small", { className: isSame ? "ok" : "alarm" }, isSame ? "the root recomputed here is the manifest's" : "the root recomputed here is not the manifest's, " + head[side].roots[schema]),
        make("code", { className: "hash root" }, root), make("small", {}, "path from leaf " + line.leaf_index + " up, by sides"), make("code", { className: "pre" }, path(levels, Number(line.leaf_index)).join("\n") || "none: it is the only leaf"));
    };
    const choose = (item, isByHand) => {
      chosen = item;
      const { before, after } = lines(item);
      const name = head.states[states[item]];
      const line = before || after;
      const found = findings.get(item) || [];
      const refused = (prefix) => {
        const one = found.find(([, code]) => code.startsWith(prefix));
        return one ? one[1] + ": stored is " + one[3] : "";
      };
      const table = make("tbody");
      for (const field_ of head.fields) {
        const differs = before && after && JSON.stringify(before[field_]) !== JSON.stringify(after[field_]);
        const row = make("tr", differs ? { className: "differs" } : {}, make("th", { scope: "row" }, field_));
        if (name === "changed") row.append(make("td", { "data-side": "before" }, value(before[field_])), make("td", { "data-side": "after" }, differs ? value(after[field_]) : make("span", { className: "soft" }, "the same")));
        else row.append(make("td", {}, value(line[field_])));
        table.append(row);
      }
      const where = { unchanged: ["In both snapshots, the same"], missing: ["Before; absent after"], added: ["After; not in the baseline"], changed: ["Before", "After"] }[name];
      const schemas = Object.keys(head.before.roots);
      const leaves = schemas.map((schema) => hashed("Leaf " + line.leaf_index + ", schema " + schema, leafData(schema, line, line.declared_sha256, line.declared_size_bytes), refused("leaf-")));
      const log = hashed("Log entry " + line.log_index, entryData(line), refused("log-"));
      const proof = make("div", {});
      if (head.whole) {
        const button = make("button", { type: "button" }, "rebuild the tree in this page");
        button.addEventListener("click", () => {
          button.disabled = true;
          button.textContent = "rebuilding…";
          setTimeout(() => {
            const side = before ? "before" : "after";
            proof.replaceChildren(...schemas.filter((schema) => head[side].roots[schema]).map((schema) => rebuilt(side, schema, line)));
          }, 30);
        });
        proof.append(make("p", { className: "soft" }, "Hashes every leaf again from the lines on this page, up to the root, and shows this leaf's way there."), button);
      }
      detail.replaceChildren(
        make("h3", {}, make("span", { className: "state s-" + name }, name), " ", make("span", { className: "mono" }, ids[item]), " ", make("span", { className: "soft" }, line.kind)),
        ...found.map(([source, code, expected, actual]) => make("p", { className: "finding" }, make("b", {}, source), " ", make("code", {}, code), " expected ", make("code", {}, expected), ", found ", make("code", {}, actual), make("small", {}, (head.titles[source] ? head.titles[source] + " · " : "") + (head.remedies[code] || "")))),
        make("table", { className: "fields" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Field"), ...where.map((one) => make("th", { scope: "col" }, one)))), table),
        make("h4", {}, "Content"),
        make("p", {}, line.signer_key_ids && line.signer_key_ids.length ? "Signed by the trusted key above, verified over its bytes. " : "", "SHA-256 of the object's bytes must be ", make("code", {}, line.declared_sha256), after && after.sha256 === null ? make("span", { className: "alarm" }, " The store has no such object.") : null),
        make("h4", {}, "Evidence tree"),
        before && name === "changed" ? make("p", { className: "soft" }, "From the baseline's line, which is the one that is believed.") : "",
        ...leaves,
        proof,
        make("h4", {}, "Transparency log"),
        log,
      );
      detail.scrollTop = 0;
      if (isByHand && matchMedia("(max-width: 1000px)").matches) {
        detail.scrollIntoView({ block: "start" });
        detail.focus({ preventScroll: true });
      }
      draw();
    };
    const move = (by) => {
      const at = shown.indexOf(chosen);
      const next = Math.max(0, Math.min(shown.length - 1, at < 0 ? 0 : at + by));
      if (!shown.length) return;
      if (next * tall < list.scrollTop) list.scrollTop = next * tall;
      else if ((next + 1) * tall > list.scrollTop + list.clientHeight) list.scrollTop = (next + 1) * tall - list.clientHeight;
      choose(shown[next], false);
    };
    const narrow = matchMedia("(max-width: 560px)");
    const size = () => {
      tall = narrow.matches ? 54 : 36;
      list.style.setProperty("--row", tall + "px");
      spacer.style.height = shown.length * tall + "px";
      draw();
    };

    field.addEventListener("input", search);
    select.addEventListener("change", () => {
      wantedKind = Number(select.value);
      search();
    });
    let isDue = false;
    list.addEventListener("scroll", () => {
      if (isDue) return;
      isDue = true;
      requestAnimationFrame(() => {
        isDue = false;
        draw();
      });
    });
    list.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) choose(Number(row.dataset.item), true);
    });
    list.addEventListener("keydown", (event) => {
      const page = Math.max(1, Math.floor(list.clientHeight / tall) - 1);
      const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -count, End: count }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      move(by);
    });
    narrow.addEventListener("change", size);
    addEventListener("resize", draw);
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-item]");
      const item = link ? ids.indexOf(link.dataset.item) : -1;
      if (item < 0) return;
      field.value = "";
      select.value = "-1";
      wantedKind = -1;
      buttons[0].click();
      choose(item, true);
      list.scrollTop = Math.max(0, (item - 4) * tall);
    });
    place.append(bar, status, make("div", { className: "panes" }, list, detail));
    place.hidden = false;
    without.hidden = true;
    size();
    search();
    const initial = findings.size ? findings.keys().next().value : later.size ? later.keys().next().value : 0;
    if (count) choose(initial, false);
    const at = chosen >= 0 ? shown.indexOf(chosen) : 0;
    list.scrollTop = Math.max(0, at * tall - 4 * tall);
    place.dataset.ready = "yes";
  };

  if (typeof DecompressionStream === "undefined") {
    without.prepend("This browser cannot unpack the list. ");
    return;
  }
  inflate(packed.textContent)
    .then((bytes) => {
      packed.remove();
      show(open(bytes));
    })
    .catch((problem) => {
      place.hidden = true;
      without.hidden = false;
      without.prepend("The list of this page cannot be unpacked (" + problem + "). ");
    });
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
})();
