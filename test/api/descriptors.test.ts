import { type DescField, ScalarType } from "@bufbuild/protobuf";
import { expect, test } from "bun:test";
import { AgentService as DuraAgentService } from "../../src/gen/dura/api/v1/agent_pb.ts";
import { AgentService, file_engram_api_v1_agent } from "../../src/gen/engram/api/v1/agent_pb.ts";

/** What clients were built with: a field's number, name and type never change. */
const messages: Readonly<Record<string, string>> = {
  CreateAgentRequest:
    "1 goal string; 2 model string; 3 metadata map<string>; 4 tools repeated Tool; 5 system_prompt string; 6 config AgentConfig; 7 request_id string",
  CreateAgentResponse: "1 agent_id string; 2 agent Agent",
  AgentConfig:
    "1 max_steps int32; 2 max_duration Duration; 3 temperature float; 4 max_context_tokens int32; 5 enable_thinking bool; 6 enable_observation bool; 7 wait_for_input bool; 8 response_schema Struct; 9 max_total_tokens int64; 10 no_tools bool; 11 tool_limits ToolLimits",
  ToolLimits: "1 fuel int64; 2 memory_bytes int64; 3 timeout Duration; 4 max_output_bytes int64",
  Agent:
    "1 agent_id string; 2 goal string; 3 status string; 4 created_at Timestamp; 5 updated_at Timestamp; 6 metadata map<string>; 7 stats AgentStats; 8 model string; 9 head_sequence int64; 10 status_reason string; 11 system_prompt string; 12 config AgentConfig; 13 tools repeated Tool; 14 parent_agent_id string; 15 forked_at_sequence int64",
  AgentStats:
    "1 total_steps int32; 2 tool_calls int32; 3 total_duration Duration; 4 tokens_used int32; 5 prompt_tokens int64; 6 completion_tokens int64; 7 fuel_used int64",
  ClientMessage:
    "1 agent_id string; payload 2 user_input UserInput; payload 3 pause Pause; payload 4 resume Resume; payload 5 edit Edit; payload 6 cancel Cancel; payload 7 confirm Confirm; 10 client_timestamp Timestamp; 11 resume_from_sequence int64; 12 message_id string",
  UserInput: "1 content string; 2 attachments repeated Attachment",
  Attachment: "1 name string; 2 mime_type string; 3 data bytes",
  Pause: "1 reason string",
  Resume: "",
  Cancel: "",
  Retry: "",
  Heartbeat: "",
  Edit: "1 patch Struct; 2 description string",
  Confirm: "1 call_id string; 2 approve bool; 3 reason string",
  ServerMessage:
    "1 agent_id string; 2 sequence_id int64; 3 timestamp Timestamp; payload 10 thought Thought; payload 11 observation Observation; payload 12 tool_call ToolCall; payload 13 tool_result ToolResult; payload 14 text TextOutput; payload 15 final_answer FinalAnswer; payload 16 error Error; payload 17 status StatusUpdate; payload 18 heartbeat Heartbeat; payload 19 text_delta TextDelta; payload 20 thought_delta ThoughtDelta",
  Thought: "1 content string",
  Observation: "1 content string",
  TextOutput: "1 content string",
  ToolCall:
    "1 tool_name string; 2 input_json string; 3 call_id string; 4 requires_confirmation bool",
  ToolResult:
    "1 call_id string; 2 output string; 3 is_error bool; 4 error_message string; 5 error_code string; 6 fuel_used int64; 7 memory_bytes int64; 8 duration Duration",
  FinalAnswer: "1 content string; 2 structured Struct",
  Error: "1 code string; 2 message string",
  StatusUpdate: "1 status string; 2 message string",
  TextDelta: "1 content string; 2 offset int64",
  ThoughtDelta: "1 content string; 2 offset int64",
  GetAgentRequest: "1 agent_id string",
  ListAgentsRequest: "1 status_filter string; 2 page_size int32; 3 page_token string",
  ListAgentsResponse: "1 agents repeated Agent; 2 next_page_token string",
  DeleteAgentRequest: "1 agent_id string; 2 force bool",
  ControlAgentRequest:
    "1 agent_id string; command 2 pause Pause; command 3 resume Resume; command 4 cancel Cancel; command 5 retry Retry; command 6 confirm Confirm",
  ControlAgentResponse: "1 status string",
  ReplayRequest: "1 agent_id string; 2 from_sequence int64; 3 include_history bool; 4 follow bool",
  SetAgentStatusRequest: "1 agent_id string; 2 status string",
  SetAgentStatusResponse: "1 status string",
  Tool: "1 name string; 2 description string; 3 parameters_schema Struct; 4 requires_confirmation bool",
  SendMessageRequest:
    "1 agent_id string; 2 user_input UserInput; 3 message_id string; 4 timeout Duration",
  SendMessageResponse:
    "1 agent Agent; 2 text string; 3 final_answer FinalAnswer; 4 tool_results repeated ToolResult; 5 error Error",
  ForkAgentRequest:
    "1 agent_id string; 2 at_sequence int64; 3 metadata map<string>; 4 request_id string",
  ListToolsRequest: "",
  ListToolsResponse: "1 tools repeated ToolInfo",
  ToolInfo: "1 tool Tool; 2 sha256 string; 3 size_bytes int64; 4 limits ToolLimits; 5 error string",
};

const methods: readonly string[] = [
  "CreateAgent CreateAgentRequest -> CreateAgentResponse",
  "GetAgent GetAgentRequest -> Agent",
  "ListAgents ListAgentsRequest -> ListAgentsResponse",
  "DeleteAgent DeleteAgentRequest -> Empty",
  "ControlAgent ControlAgentRequest -> ControlAgentResponse",
  "Chat bidi_streaming ClientMessage -> ServerMessage",
  "Replay server_streaming ReplayRequest -> ServerMessage",
  "SetAgentStatus SetAgentStatusRequest -> SetAgentStatusResponse",
  "SendMessage SendMessageRequest -> SendMessageResponse",
  "ForkAgent ForkAgentRequest -> CreateAgentResponse",
  "ListTools ListToolsRequest -> ListToolsResponse",
];

function typeOf(field: DescField): string {
  const scalar = field.scalar === undefined ? "" : ScalarType[field.scalar].toLowerCase();
  const type = field.message?.name ?? scalar;
  return {
    scalar: type,
    message: type,
    enum: "enum",
    map: `map<${type}>`,
    list: `repeated ${type}`,
  }[field.fieldKind];
}

const textOf = (field: DescField): string =>
  [field.oneof?.name ?? [], field.number, field.name, typeOf(field)].flat().join(" ");

test("each field has the number, name and type that clients know", () => {
  const found = Object.fromEntries(
    file_engram_api_v1_agent.messages.map(({ name, fields }) => [
      name,
      fields
        .toSorted((a, b) => a.number - b.number)
        .map(textOf)
        .join("; "),
    ]),
  );
  expect(found).toEqual(messages);
});

test.each([
  ["engram.api.v1.AgentService", AgentService],
  ["dura.api.v1.AgentService", DuraAgentService],
])("%s has the methods that clients call", (name, service) => {
  expect(service.typeName).toBe(name);
  expect(
    service.methods.map(({ name: method, methodKind, input, output }) =>
      [method, methodKind === "unary" ? [] : methodKind, input.name, "->", output.name]
        .flat()
        .join(" "),
    ),
  ).toEqual([...methods]);
  expect(service.methods[0]?.input.typeName).toBe("engram.api.v1.CreateAgentRequest");
});
