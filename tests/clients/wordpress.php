<?php
// Sends one mail with WordPress's own wp_mail(). Loads what that needs, and no database.
// Arguments: the folder of WordPress, a file with lines of wp-config.php, a plugin.
[, $folder, $config, $plugin] = $argv;
define('ABSPATH', "$folder/");
define('WPINC', 'wp-includes');
define('WP_DEBUG', true);
require $config;
foreach (['compat', 'load', 'plugin', 'class-wp-error', 'functions', 'option', 'formatting', 'l10n', 'http', 'link-template', 'general-template', 'pluggable'] as $each) {
    require_once ABSPATH . WPINC . "/$each.php";
}
$GLOBALS['blog_id'] = 1;
foreach (['blog_charset' => 'UTF-8', 'home' => 'http://blog.example.com'] as $name => $value) {
    add_filter("pre_option_$name", fn () => $value);
}
require $plugin;
add_action('wp_mail_failed', fn ($error) => fwrite(STDERR, $error->get_error_message()));
exit(wp_mail('ana@example.org', 'Hello by WordPress', "Hi Ana\n") ? 0 : 1);
