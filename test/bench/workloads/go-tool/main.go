// Command go-tool tells the time, as a tool written in Go would.
package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("asked %s: %s\n", input, time.Now().UTC().Format(time.RFC3339))
}
