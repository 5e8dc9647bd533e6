// Sarama as a process: driver client|member --flag value ...
//
// compat_tests/drivers.py lists modes, flags and commands; what all drivers in Go share is in go_driving/.
package main

import (
	"errors"
	"time"

	"github.com/IBM/sarama"

	"ottla.compat/driving"
)

func main() {
	driving.Main(nameOf, map[string]driving.Mode{"client": driving.ServeClient(nameOf, open), "member": member})
}

// nameOf an error is Kafka's number where it has one.
func nameOf(err error) any {
	var several sarama.ProducerErrors
	if errors.As(err, &several) {
		err = several[0]
	}
	var known sarama.KError
	if errors.As(err, &known) {
		return int16(known)
	}
	return err.Error()
}

// settings of all clients: patient enough for a broker that is restarted, which the library's own are not.
func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Metadata.Retry.Max = int(driving.Deadline / config.Metadata.Retry.Backoff)
	config.Producer.Retry.Max = int(driving.Deadline / config.Producer.Retry.Backoff)
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true // what a SyncProducer asks for
	config.Consumer.Retry.Backoff = 250 * time.Millisecond
	return config
}
