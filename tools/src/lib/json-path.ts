// JSONPath queries (RFC 9535) without function extensions: parsing.

import { isDigit, Json, Kind, textNode } from "./json";
import { fail } from "./wasi";

export enum Select {
  Name,
  All,
  Index,
  Slice,
  Filter,
}

export class Selector {
  name: string = "";
  /** Index: the index. Slice: start. */
  start: i32 = 0;
  end: i32 = 0;
  step: i32 = 1;
  hasStart: bool = false;
  hasEnd: bool = false;
  filter: Test | null = null;

  constructor(public kind: Select) {}
}

export class Segment {
  selectors: Selector[] = [];

  /** `isDeep`: of the node and all its descendants. */
  constructor(public isDeep: bool) {}
}

export class Path {
  segments: Segment[] = [];

  /** From the document ($) or from the node that is tested (@). */
  constructor(public fromRoot: bool) {}
}

export enum Truth {
  Or,
  And,
  Not,
  Exists,
  Compare,
}

export class Operand {
  path: Path | null = null;
  literal: Json | null = null;
}

export class Test {
  first: Test | null = null;
  second: Test | null = null;
  left: Operand | null = null;
  right: Operand | null = null;
  comparison: string = "";

  constructor(public kind: Truth) {}
}

/** Indices beyond no document of this size has. */
const indexMax = 1000000000;
/** Deeper filters would overflow the stack. */
const depthMax = 200;

function isNameStart(c: i32): bool {
  const lower = c | 0x20;
  return (lower >= 0x61 && lower <= 0x7a) || c == 0x5f || c >= 0x80;
}

export class PathParser {
  at: i32 = 0;
  depth: i32 = 0;

  constructor(public source: string) {}

  wrong(problem: string): void {
    fail("the query is not valid: " + problem + " at position " + (this.at + 1).toString());
  }

  peek(): i32 {
    return this.at < this.source.length ? this.source.charCodeAt(this.at) : -1;
  }

  skipSpace(): void {
    while (this.peek() >= 0 && this.peek() <= 0x20) this.at++;
  }

  take(text: string): bool {
    this.skipSpace();
    if (!this.source.startsWith(text, this.at)) return false;
    this.at += text.length;
    return true;
  }

  name(): string {
    const from = this.at;
    while (
      isNameStart(this.peek()) ||
      (this.at > from && (isDigit(this.peek()) || this.peek() == 0x2d))
    )
      this.at++;
    if (this.at == from) this.wrong("expected a name");
    return this.source.substring(from, this.at);
  }

  quoted(): string {
    const mark = this.peek();
    this.at++;
    let text = "";
    while (this.peek() != mark) {
      if (this.peek() < 0) this.wrong("a text does not end");
      if (this.peek() == 0x5c) this.at++;
      if (this.peek() < 0) this.wrong("a text does not end");
      text += this.source.charAt(this.at++);
    }
    this.at++;
    return text;
  }

  isQuote(): bool {
    return this.peek() == 0x22 || this.peek() == 0x27;
  }

  isNumber(): bool {
    return isDigit(this.peek()) || this.peek() == 0x2d;
  }

  index(): i32 {
    const isNegative = this.take("-");
    let value: i64 = 0;
    const from = this.at;
    while (isDigit(this.peek())) {
      value = value * 10 + this.peek() - 0x30;
      if (value > indexMax) this.wrong("an index is too large");
      this.at++;
    }
    if (this.at == from) this.wrong("expected a number");
    return <i32>(isNegative ? -value : value);
  }

  indexOrSlice(): Selector {
    const slice = new Selector(Select.Slice);
    if (this.isNumber()) {
      slice.hasStart = true;
      slice.start = this.index();
    }
    if (!this.take(":")) {
      slice.kind = Select.Index;
      return slice;
    }
    this.skipSpace();
    if (this.isNumber()) {
      slice.hasEnd = true;
      slice.end = this.index();
    }
    if (this.take(":")) {
      this.skipSpace();
      if (this.isNumber()) slice.step = this.index();
    }
    return slice;
  }

  selector(): Selector {
    this.skipSpace();
    if (this.take("*")) return new Selector(Select.All);
    if (this.take("?")) {
      const filter = new Selector(Select.Filter);
      filter.filter = this.either();
      return filter;
    }
    if (this.isQuote()) {
      const named = new Selector(Select.Name);
      named.name = this.quoted();
      return named;
    }
    if (this.isNumber() || this.peek() == 0x3a) return this.indexOrSlice();
    this.wrong("expected an index, a quoted name, * or ?");
    return new Selector(Select.All);
  }

  bracket(segment: Segment): void {
    while (true) {
      segment.selectors.push(this.selector());
      if (this.take("]")) return;
      if (!this.take(",")) this.wrong("expected , or ]");
    }
  }

  /** Adds the next segment; false: there is none. */
  segment(path: Path): bool {
    const isDeep = this.take("..");
    const segment = new Segment(isDeep);
    if (this.take("[")) {
      this.bracket(segment);
    } else if (isDeep || this.take(".")) {
      const named = new Selector(Select.Name);
      if (this.take("*")) named.kind = Select.All;
      else named.name = this.name();
      segment.selectors.push(named);
    } else {
      return false;
    }
    path.segments.push(segment);
    return true;
  }

  path(fromRoot: bool): Path {
    const path = new Path(fromRoot);
    while (this.segment(path)) continue;
    return path;
  }

  word(text: string, kind: Kind): Json | null {
    if (!this.source.startsWith(text, this.at)) return null;
    this.at += text.length;
    return new Json(kind);
  }

  literal(): Json {
    if (this.isQuote()) return textNode(this.quoted());
    let word = this.word("true", Kind.True);
    if (word == null) word = this.word("false", Kind.False);
    if (word == null) word = this.word("null", Kind.Null);
    if (word != null) return word;
    const from = this.at;
    while (isDigit(this.peek()) || "+-.eE".includes(String.fromCharCode(this.peek()))) {
      if (this.peek() < 0) break;
      this.at++;
    }
    const number = new Json(Kind.Number);
    number.text = this.source.substring(from, this.at);
    if (this.at == from || isNaN(parseFloat(number.text))) {
      this.wrong("expected @, $, a quoted text, a number, true, false or null");
    }
    return number;
  }

  operand(): Operand {
    this.skipSpace();
    const operand = new Operand();
    if (this.take("@")) operand.path = this.path(false);
    else if (this.take("$")) operand.path = this.path(true);
    else operand.literal = this.literal();
    return operand;
  }

  comparison(): string {
    if (this.take("==")) return "==";
    if (this.take("!=")) return "!=";
    if (this.take("<=")) return "<=";
    if (this.take(">=")) return ">=";
    if (this.take("<")) return "<";
    return this.take(">") ? ">" : "";
  }

  single(): Test {
    if (++this.depth > depthMax) this.wrong("a filter is nested too deep");
    let test: Test;
    if (this.take("!")) {
      test = new Test(Truth.Not);
      test.first = this.single();
    } else if (this.take("(")) {
      test = this.either();
      if (!this.take(")")) this.wrong("expected )");
    } else {
      test = this.relation();
    }
    this.depth--;
    return test;
  }

  relation(): Test {
    const left = this.operand();
    const comparison = this.comparison();
    const test = new Test(comparison == "" ? Truth.Exists : Truth.Compare);
    test.left = left;
    test.comparison = comparison;
    if (comparison != "") test.right = this.operand();
    else if (left.path == null) this.wrong("expected a comparison");
    return test;
  }

  both(): Test {
    let test = this.single();
    while (this.take("&&")) {
      const joined = new Test(Truth.And);
      joined.first = test;
      joined.second = this.single();
      test = joined;
    }
    return test;
  }

  either(): Test {
    let test = this.both();
    while (this.take("||")) {
      const joined = new Test(Truth.Or);
      joined.first = test;
      joined.second = this.both();
      test = joined;
    }
    return test;
  }

  whole(): Path {
    if (!this.take("$")) this.wrong("it must begin with $");
    const path = this.path(true);
    this.skipSpace();
    if (this.peek() >= 0) this.wrong('unexpected "' + this.source.charAt(this.at) + '"');
    return path;
  }
}
