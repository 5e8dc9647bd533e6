// The franz-go clients as a process: driver client|member|producer|txn|copy|steps|admin --flag value ...
//
// compat_tests/drivers.py lists modes, flags and commands; what all drivers in Go share is in go_driving/.
package main

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"ottla.compat/driving"
)

type (
	flags  = driving.Flags
	events = driving.Events
)

func main() {
	driving.Main(nameOf, map[string]driving.Mode{
		"client": driving.ServeClient(nameOf, open), "member": member, "producer": producer, "txn": txn,
		"copy": copyOnce, "steps": steps, "admin": admin,
	})
}

// errorName is Kafka's name of an error where it has one.
func errorName(err error) string {
	var known *kerr.Error
	if errors.As(err, &known) {
		return known.Message
	}
	return err.Error()
}

func nameOf(err error) any { return errorName(err) }
