// Package driving is what all drivers in Go share: their command line, the talk with the test, the calls of mode client.
//
// A driver tells what happens as one JSON line an event on standard output and takes commands, a line each, on standard
// input; the end of the input is the request to stop cleanly. compat_tests/drivers.py lists modes, flags and commands.
package driving

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Events is both ends of the talk with the test: events out as [monotonic seconds, name, value], commands in.
type Events struct {
	Commands <-chan string   // all lines but hold; closed at the end of input
	Stopping context.Context // done at the end of input

	mu      sync.Mutex
	holding bool
}

func newEvents() *Events {
	stopping, stop := context.WithCancel(context.Background())
	commands := make(chan string, 10_000)
	e := &Events{Commands: commands, Stopping: stopping}
	go func() {
		defer close(commands)
		defer stop()
		input := bufio.NewReaderSize(os.Stdin, 1<<16) // not a Scanner: a line has no limit
		for {
			line, err := input.ReadString('\n')
			if err != nil {
				return
			}
			if line = strings.TrimSpace(line); line == "hold" {
				e.mu.Lock()
				e.holding = true
				e.mu.Unlock()
			} else {
				commands <- line
			}
		}
	}()
	return e
}

// Emit tells one event.
func (e *Events) Emit(name string, value any) {
	var now unix.Timespec // the clock that Python's time.monotonic reads
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	line, err := json.Marshal([]any{float64(now.Nano()) / 1e9, name, value})
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(line, '\n'))
}

// EmitRecords says which records are about to be processed, [partition, offset, value] each, and waits here if the
// test wants them held.
func (e *Events) EmitRecords(records [][3]any) {
	e.Emit("records", records)
	e.mu.Lock()
	holding := e.holding
	e.holding = false
	e.mu.Unlock()
	if holding {
		e.Emit("holding", nil)
		<-e.Commands // go, or the end of input
	}
}
