import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type MethodImplSpec } from "@connectrpc/connect";
import { messageOf } from "../../errors.ts";
import { mustHaveFewFields } from "../parts.ts";
import type { CallContext } from "./context.ts";
import type { Input } from "./input.ts";
import type { Output } from "./output.ts";

type Call = {
  /** The first message's bytes; the others are to be asked for. */
  readonly first: Uint8Array;
  readonly input: Input;
  readonly output: Output;
  readonly context: CallContext;
};

/** Hands the request to the method and its answers to the client. Calls `began` when the request, or its first part, is there. */
export async function perform(spec: MethodImplSpec, call: Call, began: () => void): Promise<void> {
  const { output, context } = call;
  const say = (answer: MessageInitShape<DescMessage>): Promise<void> =>
    output.write(toBinary(spec.method.output, create(spec.method.output, answer)));
  const sayAll = async (answers: AsyncIterable<MessageInitShape<DescMessage>>): Promise<void> => {
    for await (const answer of answers) {
      if (context.reason !== null) return;
      await say(answer);
    }
  };
  switch (spec.kind) {
    case "unary":
      return say(await spec.impl(await onlyMessage(spec.method.input, call, began), context));
    case "server_streaming":
      return sayAll(spec.impl(await onlyMessage(spec.method.input, call, began), context));
    case "client_streaming":
      return say(await spec.impl(allMessages(spec.method.input, call, began), context));
    case "bidi_streaming":
      return sayAll(spec.impl(allMessages(spec.method.input, call, began), context));
  }
}

async function onlyMessage<T extends DescMessage>(
  type: T,
  { first, input }: Call,
  began: () => void,
): Promise<MessageShape<T>> {
  if ((await input.next()) !== null)
    throw new ConnectError("the call takes one request message, not more", Code.InvalidArgument);
  began();
  return parsed(type, first);
}

async function* allMessages<T extends DescMessage>(
  type: T,
  { first, input }: Call,
  began: () => void,
): AsyncGenerator<MessageShape<T>> {
  began();
  for (let bytes: Uint8Array | null = first; bytes !== null; bytes = await input.next())
    yield parsed(type, bytes);
}

function parsed<T extends DescMessage>(type: T, bytes: Uint8Array): MessageShape<T> {
  mustHaveFewFields(type, bytes);
  try {
    return fromBinary(type, bytes);
  } catch (error) {
    throw new ConnectError(
      `the request message is not valid protobuf: ${messageOf(error)}`,
      Code.InvalidArgument,
    );
  }
}
