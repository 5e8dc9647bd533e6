package driving

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Flags of all modes.
type Flags struct {
	Bootstrap, Group, Topic, Pattern, Protocol, Assignor, InstanceID, Isolation string
	To, Codec, TransactionalID                                                  string
	SessionMs, HeartbeatMs, TransactionMs, Batch, Count, Partitions             int
}

// Brokers of the command line.
func (f Flags) Brokers() []string { return strings.Split(f.Bootstrap, ",") }

// Milliseconds as a duration.
func Milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// Mode is one way to run a driver. An error: the client gave up.
type Mode func(Flags, *Events) error

// Main runs the mode that the command line asks for. nameOf gives Kafka's name or number of an error, or the library's
// words.
func Main(nameOf func(error) any, modes map[string]Mode) {
	names := slices.Sorted(maps.Keys(modes))
	if len(os.Args) < 2 || modes[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "usage: driver %s --bootstrap HOST:PORT ...\n", strings.Join(names, "|"))
		os.Exit(2)
	}
	var f Flags
	set := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	set.StringVar(&f.Bootstrap, "bootstrap", "", "HOST:PORT")
	set.StringVar(&f.Group, "group", "", "consumer group")
	set.StringVar(&f.Topic, "topic", "", "topic to read or write")
	set.StringVar(&f.Pattern, "pattern", "", "topics to read, as a regular expression")
	set.StringVar(&f.Protocol, "protocol", "classic", "classic or consumer (KIP-848)")
	set.StringVar(&f.Assignor, "assignor", "", "classic: range, roundrobin, sticky, cooperative-sticky; consumer: range, uniform")
	set.StringVar(&f.InstanceID, "instance-id", "", "group.instance.id")
	set.StringVar(&f.Isolation, "isolation", "read_uncommitted", "or read_committed")
	set.StringVar(&f.To, "to", "", "topic that copy writes")
	set.StringVar(&f.Codec, "codec", "none", "gzip, snappy, lz4, zstd or none")
	set.StringVar(&f.TransactionalID, "transactional-id", "", "transactional id")
	set.IntVar(&f.SessionMs, "session-timeout-ms", 6000, "")
	set.IntVar(&f.HeartbeatMs, "heartbeat-interval-ms", 500, "")
	set.IntVar(&f.TransactionMs, "transaction-timeout-ms", 60000, "")
	set.IntVar(&f.Batch, "batch", 50, "records of one poll")
	set.IntVar(&f.Count, "count", 0, "records to send")
	set.IntVar(&f.Partitions, "partitions", 1, "partitions to send to, in turn")
	set.Parse(os.Args[2:])

	told := newEvents()
	if err := modes[os.Args[1]](f, told); err != nil {
		fmt.Fprintln(os.Stderr, err)
		told.Emit("failed", nameOf(err))
		os.Exit(3)
	}
}

// VersionOf a module that this program was built with, without its v.
func VersionOf(module string) string {
	if built, ok := debug.ReadBuildInfo(); ok {
		for _, one := range built.Deps {
			if one.Path == module {
				return strings.TrimPrefix(one.Version, "v")
			}
		}
	}
	return "unknown"
}
