import { isJsonObject, type JsonObject, type JsonValue } from "./json.ts";

/*
 * JSON Schema (2020-12) as far as a schema that is wrong would make calls fail, or take whatever comes: the types of the
 * keywords, patterns that compile, references that lead somewhere and to an end. What is not known is let pass.
 */

const types = ["array", "boolean", "integer", "null", "number", "object", "string"];

/** What must hold of a keyword's value, as words for who wrote it; null: it does. */
type Rule = (value: JsonValue) => string | null;

const isText = (value: JsonValue): value is string => typeof value === "string";
const isList = (value: JsonValue): value is readonly JsonValue[] => Array.isArray(value);
const must =
  (holds: (value: JsonValue) => boolean, words: string): Rule =>
  (value) =>
    holds(value) ? null : `must be ${words}`;

const text = must(isText, "a text");
const number = must((value) => typeof value === "number", "a number");
const count = must((value) => Number.isSafeInteger(value) && Number(value) >= 0, "a whole number");
const texts = must((value) => isList(value) && value.every(isText), "a list of texts");
const isType = (value: JsonValue): boolean => isText(value) && types.includes(value);

const pattern: Rule = (value) => {
  if (!isText(value)) return text(value);
  try {
    void new RegExp(value, "u");
    return null;
  } catch {
    return "is no regular expression as JavaScript knows them in Unicode mode";
  }
};

const rules: ReadonlyMap<string, Rule> = new Map(
  Object.entries({
    type: must(
      (value) => isType(value) || (isList(value) && value.length > 0 && value.every(isType)),
      `one of ${types.join(", ")}, or a list of them`,
    ),
    enum: must(isList, "a list"),
    required: texts,
    pattern,
    uniqueItems: must((value) => typeof value === "boolean", "true or false"),
    multipleOf: must((value) => typeof value === "number" && value > 0, "a number above 0"),
    dependentRequired: must(
      (value) =>
        isJsonObject(value) && Object.values(value).every((names) => texts(names) === null),
      "an object of lists of texts",
    ),
    ...Object.fromEntries(["$ref", "$id", "$anchor", "format"].map((name) => [name, text])),
    ...Object.fromEntries(
      ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].map((name) => [name, number]),
    ),
    ...Object.fromEntries(
      ["Length", "Items", "Properties", "Contains"].flatMap((name) => [
        [`min${name}`, count],
        [`max${name}`, count],
      ]),
    ),
  }),
);

/** Keywords with a schema, and with a list of them. `items` may be a list as well, as it once was. */
const withOne = new Set(
  "items additionalItems unevaluatedItems contains additionalProperties unevaluatedProperties propertyNames not if then else".split(
    " ",
  ),
);
const withList = new Set(["allOf", "anyOf", "oneOf", "prefixItems", "items"]);
/** Keywords with an object of schemas, under names of the client's own. */
export const withNames: ReadonlySet<string> = new Set(
  "properties patternProperties $defs definitions dependentSchemas".split(" "),
);
/** Those whose schemas are held against the same value again. */
const onTheSame = new Set("allOf anyOf oneOf not if then else dependentSchemas".split(" "));

type Sub = { readonly keyword: string; readonly path: string; readonly schema: JsonValue };

function subSchemas(schema: JsonObject): readonly Sub[] {
  return Object.entries(schema).flatMap(([keyword, value]) => {
    const path = `.${keyword}`;
    if (withList.has(keyword) && isList(value))
      return value.map((one, at) => ({ keyword, path: `${path}[${at}]`, schema: one }));
    if (withNames.has(keyword) && isJsonObject(value))
      return Object.entries(value).map(([name, one]) => ({
        keyword,
        path: `${path}.${name}`,
        schema: one,
      }));
    return withOne.has(keyword) ? [{ keyword, path, schema: value }] : [];
  });
}

/** What is wrong with a schema of no more than the usual depth, as words behind its name; null: it can be used. */
export function schemaFault(schema: JsonObject): string | null {
  return faultIn(schema, "") ?? typeFault(schema) ?? referenceFault(schema);
}

function faultIn(schema: JsonValue, path: string): string | null {
  if (typeof schema === "boolean") return null;
  if (!isJsonObject(schema)) return `${path} is no schema: it must be an object, true or false`;
  for (const [keyword, value] of Object.entries(schema)) {
    const fault = keywordFault(keyword, value);
    if (fault !== null) return `${path}.${keyword} ${fault}`;
  }
  for (const sub of subSchemas(schema)) {
    const fault = faultIn(sub.schema, path + sub.path);
    if (fault !== null) return fault;
  }
  return null;
}

function keywordFault(keyword: string, value: JsonValue): string | null {
  if (withList.has(keyword) && !withOne.has(keyword) && !(isList(value) && value.length > 0))
    return "must be a list of schemas";
  if (withNames.has(keyword) && !isJsonObject(value)) return "must be an object of schemas";
  if (keyword === "patternProperties" && isJsonObject(value))
    return (
      Object.keys(value)
        .map(pattern)
        .find((fault) => fault !== null) ?? null
    );
  return rules.get(keyword)?.(value) ?? null;
}

/** What tools take and answers hold are objects. */
function typeFault({ type }: JsonObject): string | null {
  const takesObjects =
    type === undefined || type === "object" || (isList(type) && type.includes("object"));
  return takesObjects ? null : `.type must be "object": nothing else is ever held against it`;
}

/** A longer way of references from one schema to the next is taken for one without end. */
const referencesMax = 100;

/** Within a schema with an $id a reference may lead by a name of any kind; that is left to the validator. */
function referenceFault(root: JsonObject): string | null {
  const all: JsonObject[] = [];
  const collect = (schema: JsonValue): void => {
    if (!isJsonObject(schema)) return;
    all.push(schema);
    for (const sub of subSchemas(schema)) collect(sub.schema);
  };
  collect(root);
  if (all.some(({ $id, id }) => isText($id ?? null) || isText(id ?? null))) return null;
  const anchors = new Map(all.map((schema) => [schema["$anchor"], schema] as const));
  const targetOf = ($ref: string): JsonValue | undefined =>
    $ref.startsWith("#") && !/^#(\/|$)/.test($ref)
      ? anchors.get($ref.slice(1))
      : atPointer(root, $ref);

  const ended = new Set<JsonObject>();
  const follow = (schema: JsonValue, way: number): string | null => {
    if (!isJsonObject(schema) || ended.has(schema)) return null;
    if (way > referencesMax) return " has references that lead on and on, and never to an end";
    const { $ref } = schema;
    const next = subSchemas(schema).filter(({ keyword }) => onTheSame.has(keyword));
    const targets = next.map((sub) => sub.schema);
    if (typeof $ref === "string") {
      const target = targetOf($ref);
      if (target === undefined)
        return ` has the reference ${JSON.stringify($ref)}, which leads to nothing in it; nothing is fetched`;
      targets.push(target);
    }
    for (const target of targets) {
      const fault = follow(target, way + 1);
      if (fault !== null) return fault;
    }
    ended.add(schema);
    return null;
  };
  for (const schema of all) {
    const fault = follow(schema, 0);
    if (fault !== null) return fault;
  }
  return null;
}

/** Where a "#" with a JSON Pointer leads; undefined: to no schema. */
function atPointer(root: JsonObject, $ref: string): JsonValue | undefined {
  if ($ref !== "#" && !$ref.startsWith("#/")) return undefined;
  let found: JsonValue | undefined = root;
  for (const token of $ref.split("/").slice(1)) {
    const name = unescaped(token);
    if (found !== undefined && isList(found)) found = found[Number(name)];
    else if (isJsonObject(found) && Object.hasOwn(found, name)) found = found[name];
    else return undefined;
  }
  return isJsonObject(found ?? null) || typeof found === "boolean" ? found : undefined;
}

function unescaped(token: string): string {
  let plain = token;
  try {
    plain = decodeURIComponent(token);
  } catch {
    // A percent sign of its own.
  }
  return plain.replaceAll("~1", "/").replaceAll("~0", "~");
}
