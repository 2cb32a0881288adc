import type { AgentSpec, AgentTool, ToolDefinition, ToolErrorCode, ToolLimits } from "./event.ts";
import type { JsonObject } from "./json.ts";
import { finalAnswerTool, finalAnswerToolOf } from "./answer.ts";

/** A file of the tools folder, as it is now. */
export type ToolFile = {
  /** The file's name without `.wasm`. */
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the input object. */
  readonly parameters: JsonObject;
  readonly requiresConfirmation: boolean;
  /** Hex digest of the file. */
  readonly sha256: string;
  readonly sizeBytes: number;
  /** The limits that a call without wishes of its own gets. */
  readonly limits: ToolLimits;
  /** Why the file cannot be used, in a sentence; null: it can. */
  readonly error: string | null;
};

/** The tools of one agent at one moment: what its client allows of what the folder has. */
export type Toolbox = {
  readonly definitions: readonly ToolDefinition[];
  needsConfirmation(name: string): boolean;
  /** Why the agent must not call the tool; null: it may. */
  refusal(name: string): { readonly code: ToolErrorCode; readonly message: string } | null;
  /** The schema that the client gave in place of the tool's own; null: none. */
  parametersOf(name: string): JsonObject | null;
};

export function toolboxOf(spec: AgentSpec, files: readonly ToolFile[]): Toolbox {
  const wanted = new Map(spec.tools.map((tool) => [tool.name, tool]));
  const allowed = (name: string): boolean =>
    !spec.config.noTools && (wanted.size === 0 || wanted.has(name));
  // A file of the built-in tool's name is never called.
  const usable = files.filter(
    ({ name, error }) => error === null && allowed(name) && name !== finalAnswerTool.name,
  );
  const definitions = usable.map((file) => definitionOf(file, wanted.get(file.name)));
  return {
    definitions: spec.config.noTools ? [] : [...definitions, finalAnswerToolOf(spec)],
    needsConfirmation: (name) =>
      wanted.get(name)?.requiresConfirmation === true ||
      usable.some((file) => file.name === name && file.requiresConfirmation),
    refusal: (name) => {
      if (allowed(name)) return null;
      const names = definitions.map((definition) => definition.name).join(", ");
      return {
        code: "TOOL_NOT_ALLOWED",
        message: `this agent may not call ${name}${names === "" ? "; it has no tools" : `; its tools are ${names}`}`,
      };
    },
    parametersOf: (name) => wanted.get(name)?.parameters ?? null,
  };
}

const definitionOf = (file: ToolFile, wish: AgentTool | undefined): ToolDefinition => ({
  name: file.name,
  description:
    wish?.description === undefined || wish.description === ""
      ? file.description
      : wish.description,
  parameters: wish?.parameters ?? file.parameters,
});
