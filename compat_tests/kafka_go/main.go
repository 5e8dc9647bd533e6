// kafka-go as a process: driver client|member --flag value ...
//
// compat_tests/drivers.py lists modes, flags and commands; what all drivers in Go share is in go_driving/.
package main

import (
	"errors"

	"github.com/segmentio/kafka-go"

	"ottla.compat/driving"
)

func main() {
	driving.Main(nameOf, map[string]driving.Mode{"client": driving.ServeClient(nameOf, open), "member": member})
}

// nameOf an error is Kafka's number where it has one.
func nameOf(err error) any {
	var several kafka.WriteErrors
	if errors.As(err, &several) {
		for _, one := range several {
			if one != nil {
				err = one
				break
			}
		}
	}
	var known kafka.Error
	if errors.As(err, &known) {
		return int(known)
	}
	return err.Error()
}
