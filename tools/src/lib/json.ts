// JSON values. Numbers keep their text, so that what is read is written unchanged.

import { fail } from "./wasi";

export enum Kind {
  Null,
  False,
  True,
  Number,
  Text,
  List,
  Object,
}

/** Deeper documents would overflow the stack. */
const depthMax = 500;

export class Json {
  /** Number: its text. Text: its content. */
  text: string = "";
  /** Of a list or an object. */
  items: Json[] = [];
  /** Of an object, in the order of `items`. */
  keys: string[] = [];

  constructor(public kind: Kind) {}

  /** The member of that name, the last one where there are several. */
  get(key: string): Json | null {
    for (let i = this.keys.length - 1; i >= 0; i--) if (this.keys[i] == key) return this.items[i];
    return null;
  }

  number(): f64 {
    return parseFloat(this.text);
  }
}

export function textNode(text: string): Json {
  const node = new Json(Kind.Text);
  node.text = text;
  return node;
}

class Parser {
  at: i32 = 0;
  depth: i32 = 0;

  constructor(
    public source: string,
    public what: string,
  ) {}

  wrong(problem: string): void {
    fail(this.what + " is not valid JSON: " + problem + " at position " + this.at.toString());
  }

  peek(): i32 {
    return this.at < this.source.length ? this.source.charCodeAt(this.at) : -1;
  }

  skipSpace(): void {
    while (true) {
      const c = this.peek();
      if (c != 0x20 && c != 0x0a && c != 0x0d && c != 0x09) return;
      this.at++;
    }
  }

  expect(c: i32): void {
    if (this.peek() != c) this.wrong("expected " + String.fromCharCode(c));
    this.at++;
  }

  word(text: string, kind: Kind): Json {
    if (!this.source.startsWith(text, this.at)) this.wrong("unknown word");
    this.at += text.length;
    return new Json(kind);
  }

  digits(): void {
    const from = this.at;
    while (isDigit(this.peek())) this.at++;
    if (this.at == from) this.wrong("expected a digit");
  }

  number(): Json {
    const from = this.at;
    if (this.peek() == 0x2d) this.at++;
    const isZero = this.peek() == 0x30;
    this.digits();
    if (isZero && this.source.charCodeAt(this.at - 1) != 0x30) this.wrong("a number starts with 0");
    if (this.peek() == 0x2e) {
      this.at++;
      this.digits();
    }
    if (this.peek() == 0x65 || this.peek() == 0x45) {
      this.at++;
      if (this.peek() == 0x2b || this.peek() == 0x2d) this.at++;
      this.digits();
    }
    const node = new Json(Kind.Number);
    node.text = this.source.substring(from, this.at);
    return node;
  }

  escape(): string {
    const c = this.peek();
    this.at++;
    switch (c) {
      case 0x22:
      case 0x5c:
      case 0x2f:
        return String.fromCharCode(c);
      case 0x62:
        return "\b";
      case 0x66:
        return "\f";
      case 0x6e:
        return "\n";
      case 0x72:
        return "\r";
      case 0x74:
        return "\t";
      case 0x75: {
        let code = 0;
        for (let i = 0; i < 4; i++) {
          const digit = hexDigit(this.peek());
          if (digit < 0) this.wrong("expected 4 hex digits");
          code = code * 16 + digit;
          this.at++;
        }
        return String.fromCharCode(code);
      }
    }
    this.wrong("unknown escape");
    return "";
  }

  text(): string {
    this.expect(0x22);
    const parts: string[] = [];
    let from = this.at;
    while (true) {
      const c = this.peek();
      if (c < 0x20) this.wrong(c < 0 ? "a text does not end" : "a control character in a text");
      if (c == 0x22) break;
      if (c == 0x5c) {
        parts.push(this.source.substring(from, this.at));
        this.at++;
        parts.push(this.escape());
        from = this.at;
      } else {
        this.at++;
      }
    }
    parts.push(this.source.substring(from, this.at));
    this.at++;
    return parts.length == 1 ? parts[0] : parts.join("");
  }

  list(): Json {
    const node = new Json(Kind.List);
    this.expect(0x5b);
    this.skipSpace();
    if (this.peek() == 0x5d) {
      this.at++;
      return node;
    }
    while (true) {
      node.items.push(this.value());
      if (this.peek() == 0x5d) break;
      this.expect(0x2c);
    }
    this.at++;
    return node;
  }

  object(): Json {
    const node = new Json(Kind.Object);
    this.expect(0x7b);
    this.skipSpace();
    if (this.peek() == 0x7d) {
      this.at++;
      return node;
    }
    while (true) {
      this.skipSpace();
      node.keys.push(this.text());
      this.skipSpace();
      this.expect(0x3a);
      node.items.push(this.value());
      if (this.peek() == 0x7d) break;
      this.expect(0x2c);
    }
    this.at++;
    return node;
  }

  inner(): Json {
    const c = this.peek();
    if (c == 0x7b) return this.object();
    if (c == 0x5b) return this.list();
    if (c == 0x22) return textNode(this.text());
    if (c == 0x74) return this.word("true", Kind.True);
    if (c == 0x66) return this.word("false", Kind.False);
    if (c == 0x6e) return this.word("null", Kind.Null);
    if (c == 0x2d || isDigit(c)) return this.number();
    this.wrong(c < 0 ? "it ends too early" : "unexpected " + String.fromCharCode(c));
    return new Json(Kind.Null);
  }

  /** A value with the space around it. */
  value(): Json {
    if (++this.depth > depthMax) this.wrong("it is nested deeper than " + depthMax.toString());
    this.skipSpace();
    const node = this.inner();
    this.skipSpace();
    this.depth--;
    return node;
  }
}

export function isDigit(c: i32): bool {
  return c >= 0x30 && c <= 0x39;
}

export function hexDigit(c: i32): i32 {
  if (isDigit(c)) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

/** Reads a whole document; fails naming it as `what`. */
export function parse(source: string, what: string): Json {
  const parser = new Parser(source, what);
  const node = parser.value();
  if (parser.at < source.length) parser.wrong("something follows the end");
  return node;
}

const hex = "0123456789abcdef";

function quote(text: string, to: string[]): void {
  let from = 0;
  to.push('"');
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0x20 && c != 0x22 && c != 0x5c) continue;
    to.push(text.substring(from, i));
    from = i + 1;
    if (c == 0x22) to.push('\\"');
    else if (c == 0x5c) to.push("\\\\");
    else if (c == 0x0a) to.push("\\n");
    else if (c == 0x0d) to.push("\\r");
    else if (c == 0x09) to.push("\\t");
    else to.push("\\u00" + hex.charAt(c >> 4) + hex.charAt(c & 15));
  }
  to.push(text.substring(from));
  to.push('"');
}

function put(node: Json, to: string[]): void {
  switch (node.kind) {
    case Kind.Null:
      to.push("null");
      return;
    case Kind.True:
      to.push("true");
      return;
    case Kind.False:
      to.push("false");
      return;
    case Kind.Number:
      to.push(node.text);
      return;
    case Kind.Text:
      quote(node.text, to);
      return;
  }
  const isObject = node.kind == Kind.Object;
  to.push(isObject ? "{" : "[");
  for (let i = 0; i < node.items.length; i++) {
    if (i > 0) to.push(",");
    if (isObject) {
      quote(node.keys[i], to);
      to.push(":");
    }
    put(node.items[i], to);
  }
  to.push(isObject ? "}" : "]");
}

export function stringify(node: Json): string {
  const parts: string[] = [];
  put(node, parts);
  return parts.join("");
}
