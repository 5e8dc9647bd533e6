package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sys/unix"
)

// events is both ends of the talk with the test: events out as [monotonic seconds, name, value], commands in.
type events struct {
	mu       sync.Mutex
	holding  bool
	commands chan []string
	stopping context.Context // done at the end of input
}

func newEvents() *events {
	stopping, stop := context.WithCancel(context.Background())
	e := &events{commands: make(chan []string, 10_000), stopping: stopping}
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			if lines.Text() == "hold" {
				e.mu.Lock()
				e.holding = true
				e.mu.Unlock()
			} else {
				e.commands <- strings.Fields(lines.Text())
			}
		}
		stop()
		close(e.commands)
	}()
	return e
}

func (e *events) emit(name string, value any) {
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

// emitRecords says which records are about to be processed, and waits here if the test wants them held.
func (e *events) emitRecords(records [][3]any) {
	e.emit("records", records)
	e.mu.Lock()
	holding := e.holding
	e.holding = false
	e.mu.Unlock()
	if holding {
		e.emit("holding", nil)
		<-e.commands // go, or the end of input
	}
}

// errorName is Kafka's name of an error where it has one.
func errorName(err error) string {
	var known *kerr.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return err.Error()
}
