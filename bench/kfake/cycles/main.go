// cycles: starts kfake in this process, has one request answered, and closes it, again and again; milliseconds as JSON.
package main

import (
	"encoding/json"
	"flag"
	"io"
	"log"
	"net"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// an ApiVersions v0 request: its size, key, version, correlation id, no client id
var request = []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255}

type cycles struct {
	Start  []float64 `json:"start"`
	Answer []float64 `json:"answer"`
	Stop   []float64 `json:"stop"`
}

func must(err error) {
	if err != nil {
		log.Fatal("cycles: ", err)
	}
}

func ask(address string) {
	conn, err := net.Dial("tcp", address)
	must(err)
	defer conn.Close()
	_, err = conn.Write(request)
	must(err)
	size := make([]byte, 4)
	_, err = io.ReadFull(conn, size)
	must(err)
}

func since(began time.Time) float64 { return float64(time.Since(began).Nanoseconds()) / 1e6 }

func main() {
	count := flag.Int("count", 100, "cycles")
	flag.Parse()
	var measured cycles
	for range *count {
		began := time.Now()
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
		must(err)
		measured.Start = append(measured.Start, since(began))
		began = time.Now()
		ask(cluster.ListenAddrs()[0])
		measured.Answer = append(measured.Answer, since(began))
		began = time.Now()
		cluster.Close()
		measured.Stop = append(measured.Stop, since(began))
	}
	must(json.NewEncoder(os.Stdout).Encode(measured))
}
