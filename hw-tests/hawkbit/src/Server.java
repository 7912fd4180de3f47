package server;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import org.eclipse.hawkbit.autoconfigure.security.EnableHawkbitManagedSecurityConfiguration;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;

/** hawkBit with all that its libraries configure by themselves. */
@SpringBootApplication
@EnableHawkbitManagedSecurityConfiguration
public class Server {
    public static void main(String[] arguments) throws IOException {
        SpringApplication.run(Server.class, arguments);
        // It ends with whoever started it, however that one ends: then its standard input closes. What it leaves behind
        // goes with it, for nobody else is there to tidy up.
        try {
            while (System.in.read() >= 0) {
            }
        } catch (IOException gone) {
            // The same.
        }
        Path own = Path.of(System.getProperty("user.dir"));
        if (own.getFileName().toString().startsWith("holdfast-hawkbit")) {
            try (var files = Files.walk(own)) {
                files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
            }
        }
        Runtime.getRuntime().halt(0);
    }
}
