import {
  create,
  type DescMessage,
  fromJson,
  type JsonObject as WireObject,
  type JsonValue as WireValue,
  toJson,
} from "@bufbuild/protobuf";
import type { AgentSpec } from "../agent/event.ts";
import { checkSpec } from "../agent/spec.ts";
import { EngramError, messageOf } from "../errors.ts";
import { CreateAgentRequestSchema } from "../gen/engram/api/v1/agent_pb.ts";
import { operated, type Place } from "./json-patch.ts";
import { hasParts, isObject, misfitIn } from "./misfit.ts";
import { specOf } from "./spec.ts";
import { specFields } from "./wire.ts";

const editable = ["goal", "model", "systemPrompt", "metadata", "config", "tools"];

/**
 * The spec as a client's patch changes it: a JSON Merge Patch (RFC 7386) of its JSON form, or RFC 6902 operations under
 * `json_patch`. Field names are taken in both of the proto's spellings. Fails with invalid_argument.
 */
export function patched(spec: AgentSpec, patch: WireObject): AgentSpec {
  const document = toJson(
    CreateAgentRequestSchema,
    create(CreateAgentRequestSchema, specFields(spec)),
    {
      alwaysEmitImplicit: true,
    },
  );
  if (!isObject(document)) throw invalid("does not fit");
  delete document["requestId"];
  const { json_patch: operations, ...fields } = patch;
  if (operations !== undefined && Object.keys(fields).length > 0)
    throw invalid("has fields beside json_patch: send the one or the other");
  const changed =
    operations === undefined
      ? merged(document, inJsonNames(CreateAgentRequestSchema, fields))
      : operated(document, operations, placeOf);
  if (!isObject(changed)) throw invalid("must leave an object");
  const unknown = Object.keys(changed).find((name) => !editable.includes(name));
  if (unknown !== undefined)
    throw invalid(
      `names ${JSON.stringify(protoName(unknown))}; what can be edited is ${editable.map(protoName).join(", ")}`,
    );
  let next: AgentSpec;
  try {
    next = specOf(fromJson(CreateAgentRequestSchema, changed));
  } catch (cause) {
    if (cause instanceof EngramError) throw cause;
    const reading = { path: "edit.patch", ignoresUnknown: false };
    const misfit = misfitIn(CreateAgentRequestSchema, changed, reading);
    throw misfit === null
      ? invalid(`does not fit: ${messageOf(cause)}`)
      : new EngramError("invalid_argument", misfit);
  }
  checkSpec(next);
  return next;
}

const invalid = (what: string): EngramError =>
  new EngramError("invalid_argument", `edit.patch ${what}`);

/** RFC 7386: objects are merged, null removes, anything else replaces. */
function merged(target: WireValue | undefined, patch: WireValue): WireValue {
  if (!isObject(patch)) return patch;
  const result = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch))
    if (value === null) result.delete(name);
    else result.set(name, merged(result.get(name), value));
  return Object.fromEntries(result);
}

const jsonName = (message: DescMessage | undefined, name: string): string =>
  message?.fields.find((field) => field.name === name)?.jsonName ?? name;

const protoName = (name: string): string =>
  CreateAgentRequestSchema.fields.find((field) => field.jsonName === name)?.name ?? name;

const messageUnder = (message: DescMessage | undefined, name: string): DescMessage | undefined => {
  const field = message?.fields.find((one) => one.jsonName === name);
  // A Struct's fields are the client's own names.
  return field?.message !== undefined && hasParts(field.message) ? field.message : undefined;
};

/** `system_prompt` as `systemPrompt`, at every depth that the wire has names for. */
function inJsonNames(message: DescMessage | undefined, value: WireValue): WireValue {
  if (message === undefined) return value;
  if (Array.isArray(value)) return value.map((item) => inJsonNames(message, item));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([given, item]) => {
      const name = jsonName(message, given);
      return [name, inJsonNames(messageUnder(message, name), item)];
    }),
  );
}

/** A place by the JSON names, where the client may have written the proto's. */
function placeOf(given: readonly string[]): Place {
  let message: DescMessage | undefined = CreateAgentRequestSchema;
  const tokens = given.map((token) => {
    // Of a list's items the names are those of their message.
    if (/^(\d+|-|)$/.test(token)) return token;
    const name = jsonName(message, token);
    message = messageUnder(message, name);
    return name;
  });
  return { tokens, named: (value) => inJsonNames(message, value) };
}
