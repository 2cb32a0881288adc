// Clock tells the present time, as a tool: its input is the second argument, and stands on stdin too.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

type input struct {
	Format string `json:"format"`
}

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("called with %d arguments", len(os.Args)))
	}
	given, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(err)
	}
	if string(given) != os.Args[1] {
		fail(fmt.Errorf("stdin says %q, the argument %q", given, os.Args[1]))
	}
	wanted := input{Format: time.RFC3339Nano}
	if err := json.Unmarshal(given, &wanted); err != nil {
		fail(err)
	}
	fmt.Println(time.Now().UTC().Format(wanted.Format))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
