// Calls services with grpc-go as grpcurl does: with nothing but what reflection tells of them, in JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// On standard input.
type given struct {
	Target string
	CaPath string
	Calls  []call
}

type call struct {
	// As in "package.Service/Method".
	Method string
	// Each after the first is sent when a text has come; "$AGENT" stands for the agent that was created last.
	Requests []json.RawMessage
	ApiKey   string
	Gzip     bool
	// 0: none.
	TimeoutMs int
	// The call is canceled at the first message with this field; empty: never.
	CancelAt string
}

type result struct {
	Messages []json.RawMessage `json:"messages"`
	Code     string            `json:"code"`
	Message  string            `json:"message"`
}

type client struct {
	channel *grpc.ClientConn
	agentId string
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

// What reflection answers to one question.
func (c *client) ask(ctx context.Context, question *reflection.ServerReflectionRequest) (*reflection.ServerReflectionResponse, error) {
	stream, err := reflection.NewServerReflectionClient(c.channel).ServerReflectionInfo(ctx)
	if err != nil {
		return nil, err
	}
	// Where the stream has ended already, its status is told by Recv.
	_ = stream.Send(question)
	_ = stream.CloseSend()
	return stream.Recv()
}

func (c *client) describe(ctx context.Context, service string) (protoreflect.ServiceDescriptor, error) {
	answer, err := c.ask(ctx, &reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service},
	})
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, bytes := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
		file := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(bytes, file); err != nil {
			return nil, err
		}
		set.File = append(set.File, file)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, err
	}
	found, err := files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, err
	}
	return found.(protoreflect.ServiceDescriptor), nil
}

func (c *client) services(ctx context.Context) ([]string, error) {
	answer, err := c.ask(ctx, &reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_ListServices{},
	})
	names := []string{}
	for _, service := range answer.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	return names, err
}

func has(message protoreflect.Message, name string) bool {
	field := message.Descriptor().Fields().ByName(protoreflect.Name(name))
	return field != nil && message.Has(field)
}

// Sends what is to be sent, and gives what comes until the stream ends.
func (c *client) exchange(ctx context.Context, made call) ([]json.RawMessage, error) {
	messages := []json.RawMessage{}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	service, name, _ := strings.Cut(made.Method, "/")
	described, err := c.describe(ctx, service)
	if err != nil {
		return messages, err
	}
	method := described.Methods().ByName(protoreflect.Name(name))
	options := []grpc.CallOption{}
	if made.Gzip {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	shape := &grpc.StreamDesc{ClientStreams: method.IsStreamingClient(), ServerStreams: method.IsStreamingServer()}
	stream, err := c.channel.NewStream(ctx, shape, "/"+made.Method, options...)
	if err != nil {
		return messages, err
	}
	rest := made.Requests
	send := func() {
		request := dynamicpb.NewMessage(method.Input())
		text := strings.ReplaceAll(string(rest[0]), "$AGENT", c.agentId)
		rest = rest[1:]
		if err := protojson.Unmarshal([]byte(text), request); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_ = stream.SendMsg(request)
		if len(rest) == 0 {
			_ = stream.CloseSend()
		}
	}
	send()
	for {
		message := dynamicpb.NewMessage(method.Output())
		if err := stream.RecvMsg(message); err == io.EOF {
			return messages, nil
		} else if err != nil {
			return messages, err
		}
		messages = append(messages, must(protojson.Marshal(message)))
		if name == "CreateAgent" {
			c.agentId = message.Get(method.Output().Fields().ByName("agent_id")).String()
		}
		if made.CancelAt != "" && has(message, made.CancelAt) {
			cancel()
		}
		if has(message, "text") && len(rest) > 0 {
			send()
		}
		if !method.IsStreamingServer() {
			return messages, nil
		}
	}
}

func (c *client) perform(made call) result {
	ctx := context.Background()
	if made.ApiKey != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", made.ApiKey)
	}
	if made.TimeoutMs > 0 {
		timed, cancel := context.WithTimeout(ctx, time.Duration(made.TimeoutMs)*time.Millisecond)
		defer cancel()
		ctx = timed
	}
	if made.Method == "" {
		names, err := c.services(ctx)
		told := status.Convert(err)
		return result{[]json.RawMessage{must(json.Marshal(names))}, told.Code().String(), told.Message()}
	}
	messages, err := c.exchange(ctx, made)
	told := status.Convert(err)
	return result{messages, told.Code().String(), told.Message()}
}

func main() {
	var wished given
	if err := json.NewDecoder(os.Stdin).Decode(&wished); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	trust := insecure.NewCredentials()
	if wished.CaPath != "" {
		trust = must(credentials.NewClientTLSFromFile(wished.CaPath, ""))
	}
	channel := must(grpc.NewClient(wished.Target, grpc.WithTransportCredentials(trust)))
	defer channel.Close()
	c := &client{channel: channel}
	results := []result{}
	for _, made := range wished.Calls {
		results = append(results, c.perform(made))
	}
	os.Stdout.Write(must(json.Marshal(results)))
}
