import type { Command } from "../agent/accept.ts";
import type { Attachment, MessageKey, RequestKey } from "../agent/event.ts";
import { checkBytes, checkInput } from "../agent/spec.ts";
import { EngramError } from "../errors.ts";
import type * as wire from "../gen/engram/api/v1/agent_pb.ts";
import { requestLimits } from "../limits.ts";
import { digestOf } from "./digest.ts";
import { patched } from "./edit.ts";

/** null: the client gave no id. `content` is what the id stands for. */
export function requestKeyOf(requestId: string, content: unknown): RequestKey | null {
  checkBytes("request_id", requestId, requestLimits.idBytesMax);
  return requestId === "" ? null : { requestId, digest: digestOf(content) };
}

function messageKeyOf(messageId: string, content: unknown): MessageKey | null {
  checkBytes("message_id", messageId, requestLimits.idBytesMax);
  return messageId === "" ? null : { messageId, digest: digestOf(content) };
}

/** A user's message as a command. Fails with invalid_argument. */
export function sayOf(input: wire.UserInput | undefined, messageId: string): Command {
  const content = input?.content ?? "";
  const attachments = (input?.attachments ?? []).map(attachmentOf);
  checkInput(content, attachments);
  const key = messageKeyOf(messageId, { type: "Say", content, attachments });
  return { type: "Say", key, content, attachments };
}

const attachmentOf = ({ name, mimeType, data }: wire.Attachment): Attachment => ({
  name,
  mimeType: mimeType.trim().replace(/^[^;]*/, (type) => type.toLowerCase()),
  base64: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64"),
});

type Payload = wire.ClientMessage["payload"] | wire.ControlAgentRequest["command"];

/** What a client's message asks for; null: a message without payload asks for nothing. Fails with invalid_argument. */
export function commandOf(payload: Payload, messageId: string): Command | null {
  switch (payload.case) {
    case "userInput":
      return sayOf(payload.value, messageId);
    case "pause": {
      const { reason } = payload.value;
      checkBytes("pause.reason", reason, requestLimits.reasonBytesMax);
      return { type: "Pause", reason, key: messageKeyOf(messageId, { type: "Pause", reason }) };
    }
    case "resume":
      return { type: "Resume", key: messageKeyOf(messageId, { type: "Resume" }) };
    case "cancel":
      return { type: "Cancel", key: messageKeyOf(messageId, { type: "Cancel" }) };
    case "retry":
      return { type: "Retry", key: messageKeyOf(messageId, { type: "Retry" }) };
    case "confirm": {
      const { callId, approve, reason } = payload.value;
      if (callId === "") throw new EngramError("invalid_argument", "confirm.call_id is missing");
      checkBytes("confirm.reason", reason, requestLimits.reasonBytesMax);
      const key = messageKeyOf(messageId, { type: "Confirm", callId, approve, reason });
      return { type: "Confirm", callId, approve, reason, key };
    }
    case "edit": {
      const { patch = {}, description } = payload.value;
      checkBytes("edit.description", description, requestLimits.reasonBytesMax);
      const key = messageKeyOf(messageId, { type: "Edit", patch, description });
      return { type: "Edit", key, description, change: (spec) => patched(spec, patch) };
    }
    case undefined:
      return null;
  }
}
