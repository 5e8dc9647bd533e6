// The franz-go clients as a process: driver member|producer|txn|copy|steps|admin --flag value ...
//
// It tells what happens as one JSON line an event on standard output and takes commands, a line each, on standard
// input; the end of the input is the request to stop cleanly. compat_tests/drivers.py lists modes, flags and commands.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

type flags struct {
	bootstrap, group, topic, pattern, protocol, assignor, instanceID, isolation string
	to, codec, transactionalID                                                  string
	sessionMs, heartbeatMs, transactionMs, batch, count, partitions             int
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func main() {
	modes := map[string]func(flags, *events) error{"member": member, "producer": producer, "txn": txn, "copy": copyOnce, "steps": steps, "admin": admin}
	if len(os.Args) < 2 || modes[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: driver member|producer|txn|copy|steps|admin --bootstrap HOST:PORT ...")
		os.Exit(2)
	}
	var f flags
	set := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	set.StringVar(&f.bootstrap, "bootstrap", "", "HOST:PORT")
	set.StringVar(&f.group, "group", "", "consumer group")
	set.StringVar(&f.topic, "topic", "", "topic to read or write")
	set.StringVar(&f.pattern, "pattern", "", "topics to read, as a regular expression")
	set.StringVar(&f.protocol, "protocol", "classic", "classic or consumer (KIP-848)")
	set.StringVar(&f.assignor, "assignor", "", "classic: range, roundrobin, sticky, cooperative-sticky; consumer: range, uniform")
	set.StringVar(&f.instanceID, "instance-id", "", "group.instance.id")
	set.StringVar(&f.isolation, "isolation", "read_uncommitted", "or read_committed")
	set.StringVar(&f.to, "to", "", "topic that copy writes")
	set.StringVar(&f.codec, "codec", "none", "gzip, snappy, lz4, zstd or none")
	set.StringVar(&f.transactionalID, "transactional-id", "", "transactional id")
	set.IntVar(&f.sessionMs, "session-timeout-ms", 6000, "")
	set.IntVar(&f.heartbeatMs, "heartbeat-interval-ms", 500, "")
	set.IntVar(&f.transactionMs, "transaction-timeout-ms", 60000, "")
	set.IntVar(&f.batch, "batch", 50, "records of one poll")
	set.IntVar(&f.count, "count", 0, "records to send")
	set.IntVar(&f.partitions, "partitions", 1, "partitions to send to, in turn")
	set.Parse(os.Args[2:])

	told := newEvents()
	if err := modes[os.Args[1]](f, told); err != nil {
		fmt.Fprintln(os.Stderr, err)
		told.emit("failed", errorName(err))
		os.Exit(3)
	}
}
