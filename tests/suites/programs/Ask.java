// The JDK's HttpClient, as it comes: it offers an upgrade to HTTP/2 with each request. `java Ask.java http://host:port`

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;

public class Ask {
    interface Part {
        void run() throws Exception;
    }

    static String url;
    static final HttpClient client = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();

    public static void main(String[] arguments) {
        url = arguments[0];
        part("predict", Ask::predict);
        part("HEAD", Ask::head);
        part("gzip both ways", Ask::gzip);
        part("body of unknown length", Ask::chunked);
        part("Expect: 100-continue", Ask::expect);
        part("100 at once", Ask::together);
        part("an error's body", Ask::error);
    }

    static void predict() throws Exception {
        HttpResponse<String> answer = send(post("[[1, 2, 3]]").build());
        equal(answer.statusCode() + " " + answer.body(), "200 " + doubled(1));
        equal(answer.version().toString(), "HTTP_1_1");
    }

    static void head() throws Exception {
        HttpResponse<String> answer =
            send(HttpRequest.newBuilder(URI.create(url + "/health")).method("HEAD", BodyPublishers.noBody()).build());
        equal(answer.statusCode() + answer.body(), "200");
    }

    static void gzip() throws Exception {
        StringBuilder rows = new StringBuilder("[[1, 2, 3]");
        for (int i = 1; i < 10000; i++) rows.append(", [1, 2, 3]");
        ByteArrayOutputStream coded = new ByteArrayOutputStream();
        try (GZIPOutputStream stream = new GZIPOutputStream(coded)) {
            stream.write(("{\"features\": " + rows + "]}").getBytes(StandardCharsets.UTF_8));
        }
        HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/predict/double"))
            .header("Content-Type", "application/json").header("Content-Encoding", "gzip")
            .header("Accept-Encoding", "gzip").POST(BodyPublishers.ofByteArray(coded.toByteArray())).build();
        HttpResponse<byte[]> answer = client.send(request, BodyHandlers.ofByteArray());
        equal(answer.headers().firstValue("content-encoding").orElse("none"), "gzip");
        byte[] plain = new GZIPInputStream(new ByteArrayInputStream(answer.body())).readAllBytes();
        String row = "[2.0,4.0,6.0]";
        equal(new String(plain, StandardCharsets.UTF_8), "{\"model\":\"double\",\"predictions\":[" + (row + ",").repeat(9999) + row + "]}");
    }

    static void chunked() throws Exception {
        byte[] body = "{\"features\": [[1, 2, 3]]}".getBytes(StandardCharsets.UTF_8);
        HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/predict/double"))
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body))).build();
        equal(send(request).body(), doubled(1));
    }

    static void expect() throws Exception {
        equal(send(post("[[4, 2, 3]]").expectContinue(true).build()).body(), doubled(4));
    }

    static void together() throws Exception {
        List<CompletableFuture<HttpResponse<String>>> answers = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            answers.add(client.sendAsync(post("[[" + i + ", 2, 3]]").build(), BodyHandlers.ofString()));
        }
        for (int i = 0; i < 100; i++) equal(answers.get(i).get().body(), doubled(i));
    }

    static void error() throws Exception {
        HttpResponse<String> answer = send(post("[[1]]").build());
        equal("" + answer.statusCode(), "422");
        if (!answer.body().contains("\"code\":\"bad_features\"")) throw new Exception(answer.body());
    }

    static HttpRequest.Builder post(String rows) {
        return HttpRequest.newBuilder(URI.create(url + "/predict/double")).timeout(Duration.ofSeconds(30))
            .header("Content-Type", "application/json").POST(BodyPublishers.ofString("{\"features\": " + rows + "}"));
    }

    static HttpResponse<String> send(HttpRequest request) throws Exception {
        return client.send(request, BodyHandlers.ofString());
    }

    static String doubled(int first) {
        return "{\"model\":\"double\",\"predictions\":[[" + first * 2 + ".0,4.0,6.0]]}";
    }

    static void equal(String got, String wanted) throws Exception {
        if (!got.equals(wanted)) throw new Exception("got " + got + ", wanted " + wanted);
    }

    static void part(String name, Part part) {
        try {
            part.run();
            System.out.println("PASS " + name.replace(":", ""));
        } catch (Exception error) {
            System.out.println("FAIL " + name.replace(":", "") + ": " + ("" + error).replace('\n', ' '));
        }
    }
}
