import { hexDigit, isDigit, Kind, parse } from "./lib/json";
import { fail, print, readInput } from "./lib/wasi";

/** Deeper expressions would overflow the stack. */
const depthMax = 100;

/** A whole number of 64 bits where it can be, else a double. */
class Value {
  constructor(
    public isWhole: bool,
    public whole: i64,
    public real: f64,
  ) {}

  toReal(): f64 {
    return this.isWhole ? <f64>this.whole : this.real;
  }
}

function wholeValue(value: i64): Value {
  return new Value(true, value, 0);
}

function realValue(value: f64): Value {
  if (isNaN(value))
    fail("the result is not a number: an argument is outside of what a function is defined for");
  if (!isFinite(value)) fail("the result is too large");
  return new Value(false, 0, value);
}

/** As a whole number where it is one and doubles of its size still tell whole numbers apart. */
function roundedValue(value: f64): Value {
  const exactMax: f64 = 9007199254740992;
  if (Math.abs(value) <= exactMax && Math.trunc(value) == value) return wholeValue(<i64>value);
  return realValue(value);
}

function add(a: Value, b: Value): Value {
  if (a.isWhole && b.isWhole) {
    const sum = a.whole + b.whole;
    if (((a.whole ^ sum) & (b.whole ^ sum)) >= 0) return wholeValue(sum);
  }
  return realValue(a.toReal() + b.toReal());
}

function negate(a: Value): Value {
  if (a.isWhole && a.whole != i64.MIN_VALUE) return wholeValue(-a.whole);
  return realValue(-a.toReal());
}

function multiply(a: Value, b: Value): Value {
  if (a.isWhole && b.isWhole) {
    if (a.whole == 0 || b.whole == 0) return wholeValue(0);
    const isExtreme = a.whole == i64.MIN_VALUE || b.whole == i64.MIN_VALUE;
    const product = a.whole * b.whole;
    if (!isExtreme && product != i64.MIN_VALUE && product / b.whole == a.whole)
      return wholeValue(product);
  }
  return realValue(a.toReal() * b.toReal());
}

function divide(a: Value, b: Value): Value {
  if (b.toReal() == 0) fail("division by zero");
  if (a.isWhole && b.isWhole && a.whole != i64.MIN_VALUE && a.whole % b.whole == 0) {
    return wholeValue(a.whole / b.whole);
  }
  return realValue(a.toReal() / b.toReal());
}

/** The remainder with the sign of the dividend. */
function remainder(a: Value, b: Value): Value {
  if (b.toReal() == 0) fail("division by zero");
  if (a.isWhole && b.isWhole) {
    return wholeValue(b.whole == -1 ? 0 : a.whole % b.whole);
  }
  return realValue(a.toReal() % b.toReal());
}

function power(a: Value, b: Value): Value {
  if (a.isWhole && b.isWhole && b.whole >= 0 && b.whole <= 64) {
    let result = wholeValue(1);
    for (let i: i64 = 0; i < b.whole; i++) {
      result = multiply(result, a);
      if (!result.isWhole) return realValue(Math.pow(a.toReal(), b.toReal()));
    }
    return result;
  }
  const base = a.toReal();
  const exponent = b.toReal();
  if (base == 0 && exponent < 0) fail("division by zero");
  if (a.isWhole && b.isWhole && (a.whole == 1 || a.whole == -1 || a.whole == 0) && b.whole > 0) {
    return wholeValue(a.whole == -1 && b.whole % 2 == 0 ? 1 : a.whole);
  }
  return realValue(Math.pow(base, exponent));
}

function factorial(a: Value): Value {
  if (!a.isWhole || a.whole < 0) fail("a factorial needs a whole number that is not negative");
  if (a.whole > 170) fail("the result is too large");
  let result = wholeValue(1);
  for (let i: i64 = 2; i <= a.whole; i++) result = multiply(result, wholeValue(i));
  return result;
}

function callOne(name: string, a: Value): Value | null {
  const x = a.toReal();
  if (name == "abs") return a.isWhole && a.whole >= 0 ? a : a.toReal() < 0 ? negate(a) : a;
  if (name == "round")
    return a.isWhole ? a : roundedValue(x < 0 ? -Math.floor(-x + 0.5) : Math.floor(x + 0.5));
  if (name == "floor") return a.isWhole ? a : roundedValue(Math.floor(x));
  if (name == "ceil") return a.isWhole ? a : roundedValue(Math.ceil(x));
  if (name == "trunc") return a.isWhole ? a : roundedValue(Math.trunc(x));
  if (name == "sign") return wholeValue(x > 0 ? 1 : x < 0 ? -1 : 0);
  if (name == "sqrt") {
    if (x < 0) fail("the square root of a negative number is not real");
    return roundedValue(Math.sqrt(x));
  }
  if (name == "cbrt") return roundedValue(Math.cbrt(x));
  if (name == "exp") return realValue(Math.exp(x));
  if (name == "ln" || name == "log2" || name == "log10" || name == "log") {
    if (x <= 0) fail("a logarithm needs a number above 0");
    if (name == "ln") return realValue(Math.log(x));
    return roundedValue(name == "log2" ? Math.log2(x) : Math.log10(x));
  }
  if (name == "sin") return realValue(Math.sin(x));
  if (name == "cos") return realValue(Math.cos(x));
  if (name == "tan") return realValue(Math.tan(x));
  if (name == "asin") return realValue(Math.asin(x));
  if (name == "acos") return realValue(Math.acos(x));
  if (name == "atan") return realValue(Math.atan(x));
  return null;
}

function callTwo(name: string, a: Value, b: Value): Value | null {
  if (name == "pow") return power(a, b);
  if (name == "hypot") return roundedValue(Math.hypot(a.toReal(), b.toReal()));
  if (name == "atan2") return realValue(Math.atan2(a.toReal(), b.toReal()));
  return null;
}

function extreme(values: Value[], sign: f64): Value {
  let found = values[0];
  for (let i = 1; i < values.length; i++) {
    const one = values[i];
    const isExact = one.isWhole && found.isWhole;
    const isBeyond = isExact
      ? sign > 0
        ? one.whole > found.whole
        : one.whole < found.whole
      : (one.toReal() - found.toReal()) * sign > 0;
    if (isBeyond) found = one;
  }
  return found;
}

function isLetter(c: i32): bool {
  const lower = c | 0x20;
  return (lower >= 0x61 && lower <= 0x7a) || c == 0x5f;
}

class Calculator {
  at: i32 = 0;
  depth: i32 = 0;

  constructor(public source: string) {}

  wrong(problem: string): void {
    fail(problem + " at position " + (this.at + 1).toString() + " of the expression");
  }

  peek(): i32 {
    while (this.at < this.source.length && this.source.charCodeAt(this.at) <= 0x20) this.at++;
    return this.at < this.source.length ? this.source.charCodeAt(this.at) : -1;
  }

  take(c: i32): bool {
    if (this.peek() != c) return false;
    this.at++;
    return true;
  }

  takePower(): bool {
    if (this.take(0x5e)) return true;
    if (this.peek() != 0x2a || this.source.charCodeAt(this.at + 1) != 0x2a) return false;
    this.at += 2;
    return true;
  }

  hexNumber(): Value {
    this.at += 2;
    const from = this.at;
    let whole: u64 = 0;
    while (this.at < this.source.length) {
      const digit = hexDigit(this.source.charCodeAt(this.at));
      if (digit < 0) break;
      if (this.at - from >= 15) this.wrong("a hexadecimal number has more than 15 digits");
      whole = whole * 16 + digit;
      this.at++;
    }
    if (this.at == from) this.wrong("expected a hexadecimal digit");
    return wholeValue(<i64>whole);
  }

  digits(): void {
    while (this.at < this.source.length && isDigit(this.source.charCodeAt(this.at))) this.at++;
  }

  number(): Value {
    const source = this.source;
    if (source.startsWith("0x", this.at) || source.startsWith("0X", this.at))
      return this.hexNumber();
    const from = this.at;
    this.digits();
    let isWhole = true;
    if (this.at < source.length && source.charCodeAt(this.at) == 0x2e) {
      isWhole = false;
      this.at++;
      this.digits();
    }
    if (this.at - from == 1 && !isWhole) this.wrong("expected a number");
    if (this.at < source.length && (source.charCodeAt(this.at) | 0x20) == 0x65) {
      const mark = this.at;
      this.at++;
      const sign = this.at < source.length ? source.charCodeAt(this.at) : 0;
      if (sign == 0x2b || sign == 0x2d) this.at++;
      const exponent = this.at;
      this.digits();
      if (this.at == exponent) this.at = mark;
      else isWhole = false;
    }
    const text = source.substring(from, this.at);
    if (!isWhole) return roundedValue(parseFloat(text));
    let whole: i64 = 0;
    for (let i = 0; i < text.length; i++) {
      const digit = text.charCodeAt(i) - 0x30;
      if (whole > (i64.MAX_VALUE - digit) / 10) return realValue(parseFloat(text));
      whole = whole * 10 + digit;
    }
    return wholeValue(whole);
  }

  argumentList(): Value[] {
    const values: Value[] = [];
    if (this.take(0x29)) return values;
    while (true) {
      values.push(this.sum());
      if (this.take(0x29)) return values;
      if (!this.take(0x2c)) this.wrong("expected , or )");
    }
  }

  named(): Value {
    const from = this.at;
    while (this.at < this.source.length) {
      const c = this.source.charCodeAt(this.at);
      if (!isLetter(c) && !isDigit(c)) break;
      this.at++;
    }
    const name = this.source.substring(from, this.at).toLowerCase();
    if (!this.take(0x28)) {
      if (name == "pi") return realValue(Math.PI);
      if (name == "e") return realValue(Math.E);
      if (name == "tau") return realValue(2 * Math.PI);
      this.at = from;
      this.wrong('"' + name + '" is not a known constant');
    }
    const values = this.argumentList();
    const count = values.length;
    let result: Value | null = null;
    if (count > 0 && (name == "min" || name == "max"))
      result = extreme(values, name == "max" ? 1 : -1);
    else if (count == 1) result = callOne(name, values[0]);
    else if (count == 2) result = callTwo(name, values[0], values[1]);
    if (result == null) {
      this.at = from;
      this.wrong(
        'there is no function "' +
          name +
          '" of ' +
          count.toString() +
          (count == 1 ? " value" : " values"),
      );
    }
    return result!;
  }

  primary(): Value {
    const c = this.peek();
    if (isDigit(c) || c == 0x2e) return this.number();
    if (isLetter(c)) return this.named();
    if (!this.take(0x28)) {
      this.wrong(
        c < 0
          ? "the expression ends too early"
          : 'unexpected "' + this.source.charAt(this.at) + '"',
      );
    }
    const value = this.sum();
    if (!this.take(0x29)) this.wrong("expected )");
    return value;
  }

  postfix(): Value {
    let value = this.primary();
    while (this.peek() == 0x21) {
      this.at++;
      value = factorial(value);
    }
    return value;
  }

  /** Binds tighter than a sign before it and looser than one behind it: -2^2 is -4, 2^-2 is 0.25. */
  raised(): Value {
    const base = this.postfix();
    return this.takePower() ? power(base, this.signed()) : base;
  }

  signed(): Value {
    if (++this.depth > depthMax) this.wrong("the expression is nested too deep");
    let value: Value;
    if (this.take(0x2d)) value = negate(this.signed());
    else if (this.take(0x2b)) value = this.signed();
    else value = this.raised();
    this.depth--;
    return value;
  }

  product(): Value {
    let value = this.signed();
    while (true) {
      if (this.take(0x2a)) value = multiply(value, this.signed());
      else if (this.take(0x2f)) value = divide(value, this.signed());
      else if (this.take(0x25)) value = remainder(value, this.signed());
      else return value;
    }
  }

  sum(): Value {
    let value = this.product();
    while (true) {
      if (this.take(0x2b)) value = add(value, this.product());
      else if (this.take(0x2d)) value = add(value, negate(this.product()));
      else return value;
    }
  }

  all(): Value {
    const value = this.sum();
    if (this.peek() >= 0) this.wrong('unexpected "' + this.source.charAt(this.at) + '"');
    return value;
  }
}

/** Digits that a double always holds; the 16th and 17th show how it is stored. */
const sureDigits = 15;
/** A result that gets this much shorter by rounding was meant so: 0.1 + 0.2 is 0.3. */
const shortDigits = 12;

/** The text of a double, rounded to the digits that are sure where that makes it much shorter. */
function realText(value: f64): string {
  const text = value.toString();
  const mark = text.indexOf("e");
  const mantissa = mark < 0 ? text : text.substring(0, mark);
  const rest = mark < 0 ? "" : text.substring(mark);
  const whole = mantissa.endsWith(".0") ? mantissa.substring(0, mantissa.length - 2) : mantissa;
  const point = whole.indexOf(".");
  if (point < 0) return mark < 0 ? withExponent(whole) : text;
  const rounded = roundDigits(whole);
  return (digitCount(rounded) <= shortDigits ? rounded : whole) + rest;
}

/** A double that is too large to be exact, written so that it does not look exact. */
function withExponent(whole: string): string {
  const sign = whole.startsWith("-") ? "-" : "";
  const digits = whole.substring(sign.length);
  if (digits.length <= sureDigits) return whole;
  let end = digits.length;
  while (end > 1 && digits.charCodeAt(end - 1) == 0x30) end--;
  const fraction = end > 1 ? "." + digits.substring(1, end) : "";
  return sign + digits.charAt(0) + fraction + "e+" + (digits.length - 1).toString();
}

/** Significant digits: leading zeros do not count. */
function digitCount(text: string): i32 {
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (isDigit(c) && (count > 0 || c != 0x30)) count++;
  }
  return count;
}

function roundDigits(text: string): string {
  const digits: i32[] = [];
  for (let i = 0; i < text.length; i++) digits.push(text.charCodeAt(i));
  let seen = 0;
  let cut = digits.length;
  for (let i = 0; i < digits.length; i++) {
    if (!isDigit(digits[i]) || (seen == 0 && digits[i] == 0x30)) continue;
    if (++seen == sureDigits + 1) {
      cut = i;
      break;
    }
  }
  const point = text.indexOf(".");
  if (cut == digits.length || cut <= point) return text;
  let carry = digits[cut] >= 0x35;
  for (let i = cut - 1; carry && i >= 0; i--) {
    if (!isDigit(digits[i])) continue;
    carry = digits[i] == 0x39;
    digits[i] = carry ? 0x30 : digits[i] + 1;
  }
  // A carry out of the first digit: the number is not one that rounding makes short.
  if (carry) return text;
  let end = cut;
  while (end > point + 1 && digits[end - 1] == 0x30) end--;
  if (end == point + 1) end = point;
  let result = "";
  for (let i = 0; i < end; i++) result += String.fromCharCode(digits[i]);
  return result;
}

function main(): void {
  const input = parse(readInput(), "the input");
  const given = input.get("expression");
  if (given == null || given.kind != Kind.Text)
    fail('"expression" must be a text such as "2 * (3 + 4)"');
  const value = new Calculator(given!.text).all();
  print(value.isWhole ? value.whole.toString() : realText(value.real));
}

main();
