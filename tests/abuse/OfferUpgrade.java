import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Posts a body with the JDK's client as it is by default, which offers h2c; prints the status and body of each answer. */
public class OfferUpgrade {
    public static void main(String[] given) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(given[0]));
        request.header("Content-Type", "application/json");
        for (int i = 0; i < Integer.parseInt(given[2]); i++) {
            HttpResponse<String> answer = client.send(
                request.POST(HttpRequest.BodyPublishers.ofString(given[1])).build(), HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version() + " " + answer.body());
        }
    }
}
