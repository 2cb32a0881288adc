import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { valuesIn } from "../agent/json.ts";
import { EngramError } from "../errors.ts";
import { requestLimits } from "../limits.ts";

/** A place in the document as a client writes it, by the names that the document has. */
export type Place = {
  /** Begins with "", which is the whole. */
  readonly tokens: readonly string[];
  /** The operation's value, if it is to stand there, by the document's names. */
  readonly named: (value: JsonValue) => JsonValue;
};

type Operation = {
  readonly op: string;
  readonly path: Place;
  readonly from: Place | null;
  readonly value: JsonValue | undefined;
};

/** With the tools' list, a tool and the document around a schema; and one for the whole's own token. */
const levelsMax = requestLimits.jsonLevelsMax + 4;

/** What operations may put into a document, in characters of JSON: copies of copies double it otherwise. */
type Budget = { chars: number };

/**
 * The document as a list of RFC 6902 operations changes it; it may be changed itself, even by a list that fails. `placeOf`
 * takes the tokens of a pointer. Fails with invalid_argument, naming the operation.
 */
export function operated(
  document: JsonObject,
  operations: JsonValue,
  placeOf: (tokens: readonly string[]) => Place,
): JsonValue | undefined {
  const { patchOperationsMax, specBytesMax } = requestLimits;
  if (!Array.isArray(operations) || operations.length > patchOperationsMax)
    throw invalid("", `is not a list of at most ${patchOperationsMax} operations`);
  // A pointer's first token is the empty one, so the whole is a value inside of something as all others are.
  const holder: JsonObject = { "": document };
  const budget: Budget = { chars: specBytesMax };
  for (const [index, given] of operations.entries()) {
    const at = `[${index}]`;
    perform(holder, operationOf(given, at, placeOf), { at, budget });
  }
  return holder[""];
}

const invalid = (where: string, what: string): EngramError =>
  new EngramError("invalid_argument", `edit.patch.json_patch${where} ${what}`);

const isObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const verbs = ["add", "remove", "replace", "move", "copy", "test"];

function operationOf(
  given: JsonValue,
  at: string,
  placeOf: (tokens: readonly string[]) => Place,
): Operation {
  const { op, path, from, value } = isObject(given) ? given : {};
  const place = (field: string, pointer: JsonValue | undefined): Place =>
    placeOf(tokensOf(`${at}.${field}`, pointer));
  if (typeof op !== "string" || !verbs.includes(op))
    throw invalid(`${at}.op`, `is none of ${verbs.join(", ")}`);
  if (["add", "replace", "test"].includes(op) && value === undefined)
    throw invalid(`${at}.value`, "is missing");
  const takesFrom = op === "move" || op === "copy";
  return { op, path: place("path", path), from: takesFrom ? place("from", from) : null, value };
}

/** The tokens of a JSON Pointer (RFC 6901), without its escapes. */
function tokensOf(where: string, pointer: JsonValue | undefined): readonly string[] {
  if (typeof pointer !== "string") throw invalid(where, "is missing");
  if (pointer !== "" && !pointer.startsWith("/"))
    throw invalid(where, `does not begin with "/": name a field as /goal or /config/max_steps`);
  if (/~(?![01])/.test(pointer))
    throw invalid(where, 'has a "~" that is neither "~0" (a tilde) nor "~1" (a slash)');
  const tokens = pointer.split("/");
  if (tokens.length > levelsMax) throw invalid(where, "leads deeper than anything can be nested");
  return tokens.map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function perform(
  holder: JsonObject,
  { op, path, from, value }: Operation,
  { at, budget }: { readonly at: string; readonly budget: Budget },
): void {
  const present = ({ tokens }: Place, field: string): JsonValue => {
    const found = valueAt(holder, tokens);
    if (found === undefined) throw invalid(`${at}.${field}`, "leads to nothing that is there");
    return found;
  };
  const put = (added: JsonValue): void => {
    if (!insert(valueAt(holder, path.tokens.slice(0, -1)), path.tokens.at(-1) ?? "", added))
      throw invalid(`${at}.path`, "leads to no place where a value can stand");
  };
  switch (op) {
    case "test":
      if (!Bun.deepEquals(present(path, "path"), path.named(value ?? null)))
        throw invalid(at, "does not hold: another value stands at its path");
      return;
    case "remove":
      present(path, "path");
      return drop(holder, path.tokens);
    case "replace":
      present(path, "path");
      drop(holder, path.tokens);
      return put(copied(path.named(value ?? null), at, budget));
    case "add":
      return put(copied(path.named(value ?? null), at, budget));
    case "copy":
      return put(copied(from === null ? null : present(from, "from"), at, budget));
    case "move": {
      if (from === null) return;
      const moved = present(from, "from");
      if (isInside(path.tokens, from.tokens))
        throw invalid(`${at}.path`, "leads into what is to be moved");
      drop(holder, from.tokens);
      return put(moved);
    }
  }
}

/** A value of the document's own, paid for. */
function copied(value: JsonValue, at: string, budget: Budget): JsonValue {
  if (valuesIn(value, levelsMax) === Infinity)
    throw invalid(
      at,
      `puts more than ${levelsMax} objects and lists in one another: make it flatter`,
    );
  const json = JSON.stringify(value);
  budget.chars -= json.length;
  if (budget.chars < 0)
    throw invalid(
      at,
      `goes past the ${requestLimits.specBytesMax} characters that all operations together may write`,
    );
  return JSON.parse(json);
}

const indexPattern = /^(0|[1-9]\d{0,8})$/;

function valueAt(holder: JsonObject, tokens: readonly string[]): JsonValue | undefined {
  let found: JsonValue | undefined = holder;
  for (const token of tokens)
    if (Array.isArray(found)) found = indexPattern.test(token) ? found[Number(token)] : undefined;
    else found = isObject(found) && Object.hasOwn(found, token) ? found[token] : undefined;
  return found;
}

/** False: there is no such place. In a list what stands behind it moves on. */
function insert(parent: JsonValue | undefined, token: string, value: JsonValue): boolean {
  if (Array.isArray(parent)) {
    const index = token === "-" ? parent.length : indexPattern.test(token) ? Number(token) : -1;
    if (index < 0 || index > parent.length) return false;
    parent.splice(index, 0, value);
    return true;
  }
  if (!isObject(parent)) return false;
  // Set plainly, "__proto__" would be no name like others.
  const own = { value, enumerable: true, configurable: true, writable: true };
  Object.defineProperty(parent, token, own);
  return true;
}

/** Of a value that is there. */
function drop(holder: JsonObject, tokens: readonly string[]): void {
  const parent = valueAt(holder, tokens.slice(0, -1));
  const token = tokens.at(-1) ?? "";
  if (Array.isArray(parent)) parent.splice(Number(token), 1);
  else if (isObject(parent)) delete parent[token];
}

const isInside = (tokens: readonly string[], outer: readonly string[]): boolean =>
  tokens.length > outer.length && outer.every((token, at) => token === tokens[at]);
