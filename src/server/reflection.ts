import {
  type DescExtension,
  type DescFile,
  type DescMessage,
  type DescService,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import type {
  ServerReflection,
  ServerReflectionRequest,
} from "../gen/grpc/reflection/v1/reflection_pb.ts";

type Question = ServerReflectionRequest["messageRequest"];
/** What an answer is made from; connect makes the messages. */
type Answer =
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | {
      case: "allExtensionNumbersResponse";
      value: { baseTypeName: string; extensionNumber: number[] };
    }
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } };

type Index = {
  readonly services: readonly string[];
  readonly files: ReadonlyMap<string, DescFile>;
  readonly symbols: ReadonlyMap<string, DescFile>;
  readonly extensions: readonly DescExtension[];
};

/** The file, then everything it imports, each once. */
const withImports = (file: DescFile, found = new Set<DescFile>()): Set<DescFile> => {
  if (found.has(file)) return found;
  found.add(file);
  for (const imported of file.dependencies) withImports(imported, found);
  return found;
};

const messagesOf = (message: DescMessage): DescMessage[] => [
  message,
  ...message.nestedMessages.flatMap(messagesOf),
];

const symbolsOf = (file: DescFile): string[] => {
  const messages = file.messages.flatMap(messagesOf);
  const enums = [...file.enums, ...messages.flatMap(({ nestedEnums }) => nestedEnums)];
  return [
    ...messages.flatMap(({ typeName, fields, oneofs }) => [
      typeName,
      ...[...fields, ...oneofs].map(({ name }) => `${typeName}.${name}`),
    ]),
    ...enums.flatMap(({ typeName, values }) => {
      const scope = typeName.slice(0, typeName.lastIndexOf(".") + 1);
      // A value is a sibling of its enum, but many clients look for it inside.
      return [typeName, ...values.flatMap(({ name }) => [scope + name, `${typeName}.${name}`])];
    }),
    ...file.services.flatMap(({ typeName, methods }) => [
      typeName,
      ...methods.map(({ name }) => `${typeName}.${name}`),
    ]),
    ...extensionsOf(file).map(({ typeName }) => typeName),
  ];
};

const extensionsOf = (file: DescFile): DescExtension[] => [
  ...file.extensions,
  ...file.messages.flatMap(messagesOf).flatMap(({ nestedExtensions }) => nestedExtensions),
];

const index = (services: readonly DescService[]): Index => {
  const files = new Set<DescFile>();
  for (const { file } of services) withImports(file, files);
  return {
    services: services.map(({ typeName }) => typeName),
    // Descriptors carry their file's name without its ending.
    files: new Map([...files].map((file) => [`${file.name}.proto`, file])),
    symbols: new Map([...files].flatMap((file) => symbolsOf(file).map((name) => [name, file]))),
    extensions: [...files].flatMap(extensionsOf),
  };
};

const notFound = (what: string): Answer => ({
  case: "errorResponse",
  value: { errorCode: Code.NotFound, errorMessage: `there is no ${what} here` },
});

const filesFrom = (file: DescFile | undefined, what: string): Answer =>
  file === undefined
    ? notFound(what)
    : {
        case: "fileDescriptorResponse",
        value: {
          fileDescriptorProto: [...withImports(file)].map(({ proto }) =>
            toBinary(FileDescriptorProtoSchema, proto),
          ),
        },
      };

const answerTo = (question: Question, known: Index): Answer => {
  switch (question.case) {
    case "fileByFilename":
      return filesFrom(known.files.get(question.value), `file ${question.value}`);
    case "fileContainingSymbol":
      return filesFrom(
        known.symbols.get(question.value.replace(/^\./, "")),
        `symbol ${question.value}`,
      );
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = question.value;
      const extension = known.extensions.find(
        ({ extendee, number }) =>
          extendee.typeName === containingType && number === extensionNumber,
      );
      return filesFrom(extension?.file, `extension ${extensionNumber} of ${containingType}`);
    }
    case "allExtensionNumbersOfType": {
      const baseTypeName = question.value;
      if (!known.symbols.has(baseTypeName)) return notFound(`message ${baseTypeName}`);
      const extensionNumber = known.extensions
        .filter(({ extendee }) => extendee.typeName === baseTypeName)
        .map(({ number }) => number);
      return { case: "allExtensionNumbersResponse", value: { baseTypeName, extensionNumber } };
    }
    case "listServices":
      return {
        case: "listServicesResponse",
        value: { service: known.services.map((name) => ({ name })) },
      };
    case undefined: {
      const errorMessage = "the request asks nothing: set one of its message_request fields";
      return { case: "errorResponse", value: { errorCode: Code.InvalidArgument, errorMessage } };
    }
  }
};

/** The reflection service of both names, over the files behind `services` (asked at the first question). */
export const makeReflection = (
  services: () => readonly DescService[],
): ServiceImpl<typeof ServerReflection> => {
  let known: Index | null = null;
  return {
    serverReflectionInfo: async function* (requests) {
      known ??= index(services());
      for await (const request of requests) {
        yield {
          validHost: request.host,
          originalRequest: request,
          messageResponse: answerTo(request.messageRequest, known),
        };
      }
    },
  };
};
