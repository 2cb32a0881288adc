import { type Schema, type OutputUnit, Validator } from "@cfworker/json-schema";
import type { JsonObject } from "../agent/json.ts";
import { isJsonObject, isTooDeep } from "../agent/json.ts";
import { messageOf } from "../errors.ts";
import { turnLimits } from "../limits.ts";

const problemsMax = 5;
const problemCharsMax = 300;

/** A validator's findings from the outside in; only the innermost say what to change. */
const problemsOf = (errors: readonly OutputUnit[]): readonly string[] => {
  const leaves = errors.filter(
    (error) => !["properties", "items", "$ref", "additionalProperties"].includes(error.keyword),
  );
  const shown = (leaves.length > 0 ? leaves : errors).slice(0, problemsMax);
  return shown.map(({ instanceLocation, error }) =>
    `${instanceLocation}: ${error}`.slice(0, problemCharsMax),
  );
};

/** Where a value does not match, and by which rule; empty: nowhere. Throws where the schema cannot be used. */
function mismatches(value: JsonObject, parameters: JsonObject): string {
  const schema: Schema = { ...parameters };
  const { valid, errors } = new Validator(schema, "2020-12", false).validate(value);
  return valid ? "" : problemsOf(errors).join(" ");
}

/** What is wrong with an answer; null: nothing. May take forever, as `checkInput`. */
export function checkAnswer(value: JsonObject, schema: JsonObject): string | null {
  try {
    const problems = mismatches(value, schema);
    return problems === "" ? null : `the data do not match the schema, correct them. ${problems}`;
  } catch (error) {
    return `the schema of the answer cannot be used: ${messageOf(error)}`;
  }
}

export type InputProblem = {
  /** The schema itself cannot be used. */
  readonly isSchemaWrong: boolean;
  readonly message: string;
};

/** What is wrong with a tool's input; null: nothing. May take forever: a schema can hold a hostile pattern. */
export const checkInput = (inputJson: string, parameters: JsonObject): InputProblem | null => {
  let input: unknown;
  try {
    input = JSON.parse(inputJson);
  } catch (error) {
    const message = `the input is not valid JSON (${messageOf(error)}); send one JSON object`;
    return { isSchemaWrong: false, message };
  }
  if (!isJsonObject(input)) {
    return { isSchemaWrong: false, message: "the input is not a JSON object; send one" };
  }
  const { toolInputLevelsMax } = turnLimits;
  if (isTooDeep(input, toolInputLevelsMax)) {
    const message = `the input has more than ${toolInputLevelsMax} objects and lists in one another; make it flatter`;
    return { isSchemaWrong: false, message };
  }
  try {
    const problems = mismatches(input, parameters);
    if (problems === "") return null;
    return {
      isSchemaWrong: false,
      message: `the input does not match the tool's parameters, correct it and call again. ${problems}`,
    };
  } catch (error) {
    return {
      isSchemaWrong: true,
      message: `the schema of the tool's parameters cannot be used: ${messageOf(error)}`,
    };
  }
};
