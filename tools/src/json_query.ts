import { Json, Kind, parse, stringify } from "./lib/json";
import { Operand, Path, PathParser, Segment, Select, Selector, Test, Truth } from "./lib/json-path";
import { fail, print, readInput } from "./lib/wasi";

function isContainer(node: Json): bool {
  return node.kind == Kind.List || node.kind == Kind.Object;
}

function isEqual(a: Json, b: Json): bool {
  if (a.kind != b.kind) return false;
  if (a.kind == Kind.Number) return a.number() == b.number();
  if (a.kind == Kind.Text) return a.text == b.text;
  if (a.items.length != b.items.length) return false;
  for (let i = 0; i < a.items.length; i++) {
    const other = a.kind == Kind.Object ? b.get(a.keys[i]) : b.items[i];
    if (other == null || !isEqual(a.items[i], other)) return false;
  }
  return true;
}

function isLess(a: Json, b: Json): bool {
  if (a.kind == Kind.Number && b.kind == Kind.Number) return a.number() < b.number();
  return a.kind == Kind.Text && b.kind == Kind.Text && a.text < b.text;
}

class Query {
  constructor(public root: Json) {}

  /** The one value that an operand stands for; null: none. */
  value(operand: Operand, node: Json): Json | null {
    const path = operand.path;
    if (path == null) return operand.literal;
    const found = this.find(path, node);
    if (found.length > 1)
      fail("a comparison in the query needs paths that give one value; use names and indices only");
    return found.length == 0 ? null : found[0];
  }

  compares(test: Test, node: Json): bool {
    const a = this.value(test.left!, node);
    const b = this.value(test.right!, node);
    const how = test.comparison;
    const areEqual = a == null || b == null ? a == b : isEqual(a, b);
    if (how == "==") return areEqual;
    if (how == "!=") return !areEqual;
    if (how.length == 2 && areEqual) return true;
    if (a == null || b == null) return false;
    return how.charAt(0) == "<" ? isLess(a, b) : isLess(b, a);
  }

  holds(test: Test, node: Json): bool {
    switch (test.kind) {
      case Truth.Or:
        return this.holds(test.first!, node) || this.holds(test.second!, node);
      case Truth.And:
        return this.holds(test.first!, node) && this.holds(test.second!, node);
      case Truth.Not:
        return !this.holds(test.first!, node);
      case Truth.Exists:
        return this.find(test.left!.path!, node).length > 0;
    }
    return this.compares(test, node);
  }

  slice(by: Selector, node: Json, to: Json[]): void {
    const items = node.items;
    const length = items.length;
    const step = by.step;
    if (step == 0) return;
    const start = by.hasStart
      ? by.start < 0
        ? by.start + length
        : by.start
      : step > 0
        ? 0
        : length - 1;
    const end = by.hasEnd ? (by.end < 0 ? by.end + length : by.end) : step > 0 ? length : -1;
    if (step > 0) {
      const last = min(end, length);
      for (let i: i64 = max(start, 0); i < last; i += step) to.push(items[<i32>i]);
    } else {
      const last = max(end, -1);
      for (let i: i64 = min(start, length - 1); i > last; i += step) to.push(items[<i32>i]);
    }
  }

  select(by: Selector, node: Json, to: Json[]): void {
    if (!isContainer(node)) return;
    const items = node.items;
    const isList = node.kind == Kind.List;
    if (by.kind == Select.Name) {
      const item = node.get(by.name);
      if (item != null) to.push(item);
    } else if (by.kind == Select.All) {
      for (let i = 0; i < items.length; i++) to.push(items[i]);
    } else if (by.kind == Select.Filter) {
      for (let i = 0; i < items.length; i++)
        if (this.holds(by.filter!, items[i])) to.push(items[i]);
    } else if (isList && by.kind == Select.Slice) {
      this.slice(by, node, to);
    } else if (isList) {
      const index = by.start < 0 ? by.start + items.length : by.start;
      if (index >= 0 && index < items.length) to.push(items[index]);
    }
  }

  walk(segment: Segment, node: Json, to: Json[]): void {
    for (let i = 0; i < segment.selectors.length; i++) this.select(segment.selectors[i], node, to);
    if (!segment.isDeep) return;
    for (let i = 0; i < node.items.length; i++) this.walk(segment, node.items[i], to);
  }

  find(path: Path, node: Json): Json[] {
    let nodes = [path.fromRoot ? this.root : node];
    for (let i = 0; i < path.segments.length; i++) {
      const next: Json[] = [];
      for (let k = 0; k < nodes.length; k++) this.walk(path.segments[i], nodes[k], next);
      nodes = next;
    }
    return nodes;
  }
}

function main(): void {
  const input = parse(readInput(), "the input");
  const query = input.get("query");
  const given = input.get("document");
  if (query == null || query.kind != Kind.Text) fail('"query" must be a text such as "$.name"');
  if (given == null) fail('"document" is missing: give the JSON value to search');
  const path = new PathParser(query!.text).whole();
  const document = given!.kind == Kind.Text ? parse(given!.text, '"document"') : given!;
  const result = new Json(Kind.List);
  result.items = new Query(document).find(path, document);
  print(stringify(result));
}

main();
