// Go's net/http, as it comes: `go run ask.go http://host:port`

package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

var url string
var client = &http.Client{Timeout: 30 * time.Second}

func main() {
	url = os.Args[1]
	part("predict", predict)
	part("HEAD", head)
	part("gzip both ways", zipped)
	part("body of unknown length", chunked)
	part("Expect 100-continue", expect)
	part("100 at once", together)
	part("an error's body", refused)
}

func predict() error {
	return ask("double", "[[1, 2, 3]]", doubled(1))
}

func head() error {
	answer, err := client.Head(url + "/health")
	if err != nil {
		return err
	}
	body, err := read(answer)
	return same(fmt.Sprint(answer.StatusCode, body, err), "200<nil>")
}

// The transport asks for gzip and inflates by itself.
func zipped() error {
	row, sent := "[2.0,4.0,6.0]", "[1, 2, 3]"
	var coded bytes.Buffer
	stream := gzip.NewWriter(&coded)
	fmt.Fprintf(stream, `{"features": [%s%s]}`, strings.Repeat(sent+",", 9999), sent)
	stream.Close()
	request, _ := http.NewRequest("POST", url+"/predict/double", &coded)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Content-Encoding", "gzip")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	if !answer.Uncompressed {
		return fmt.Errorf("the answer is not compressed")
	}
	body, err := read(answer)
	if err != nil {
		return err
	}
	return same(body, fmt.Sprintf(`{"model":"double","predictions":[%s%s]}`, strings.Repeat(row+",", 9999), row))
}

func chunked() error {
	reader, writer := io.Pipe()
	go func() {
		fmt.Fprint(writer, `{"features": `)
		time.Sleep(50 * time.Millisecond)
		fmt.Fprint(writer, `[[1, 2, 3]]}`)
		writer.Close()
	}()
	answer, err := client.Post(url+"/predict/double", "application/json", reader)
	if err != nil {
		return err
	}
	body, _ := read(answer)
	return same(body, doubled(1))
}

func expect() error {
	request, _ := http.NewRequest("POST", url+"/predict/double", strings.NewReader(`{"features": [[4, 2, 3]]}`))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Expect", "100-continue")
	transport := &http.Transport{ExpectContinueTimeout: 20 * time.Second}
	answer, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	body, _ := read(answer)
	return same(body, doubled(4))
}

func together() error {
	errors := make(chan error, 100)
	for i := 0; i < 100; i++ {
		go func(i int) { errors <- ask("double", fmt.Sprintf("[[%d, 2, 3]]", i), doubled(i)) }(i)
	}
	for i := 0; i < 100; i++ {
		if err := <-errors; err != nil {
			return err
		}
	}
	return nil
}

func refused() error {
	answer, err := client.Post(url+"/predict/double", "application/json", strings.NewReader(`{"features": [[1]]}`))
	if err != nil {
		return err
	}
	body, _ := read(answer)
	if answer.StatusCode != 422 || !strings.Contains(body, `"code":"bad_features"`) {
		return fmt.Errorf("%d %s", answer.StatusCode, body)
	}
	return nil
}

func ask(model, rows, wanted string) error {
	answer, err := client.Post(url+"/predict/"+model, "application/json", strings.NewReader(`{"features": `+rows+`}`))
	if err != nil {
		return err
	}
	body, err := read(answer)
	if err != nil {
		return err
	}
	return same(body, wanted)
}

func read(answer *http.Response) (string, error) {
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}

func doubled(first int) string {
	return fmt.Sprintf(`{"model":"double","predictions":[[%d.0,4.0,6.0]]}`, first*2)
}

func same(got, wanted string) error {
	if got != wanted {
		return fmt.Errorf("got %s, wanted %s", got, wanted)
	}
	return nil
}

func part(name string, run func() error) {
	if err := run(); err != nil {
		fmt.Printf("FAIL %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Printf("PASS %s\n", name)
}
