<?php
session_start();

const PASSWORDS = ['ann' => 'apple', 'ben' => 'banana'];
const PAGE = __DIR__ . '/../page/';
$file = sys_get_temp_dir() . '/tickets.jsonl'; // one ticket a line
$user = $_SESSION['user'] ?? null;

switch ($_SERVER['REQUEST_METHOD'] . ' ' . strtok($_SERVER['REQUEST_URI'], '?')) {
    case 'GET /':
        readfile(PAGE . ($user ? 'index.html' : 'login.html'));
        break;

    case 'POST /login':
        $name = $_POST['name'] ?? '';
        if (isset(PASSWORDS[$name]) && PASSWORDS[$name] === ($_POST['password'] ?? '')) {
            session_regenerate_id(true);
            $_SESSION['user'] = $name;
        }
        header('Location: /', true, 303);
        break;

    case 'GET /tickets':
        if (!$user) {
            http_response_code(401);
            break;
        }
        header('Content-Type: application/json');
        echo '[' . implode(',', is_file($file) ? file($file, FILE_IGNORE_NEW_LINES) : []) . ']';
        break;

    case 'POST /tickets':
        if (!$user) {
            http_response_code(401);
            break;
        }
        $ticket = ['id' => uniqid(), 'title' => $_POST['title'] ?? '', 'by' => $user];
        file_put_contents($file, json_encode($ticket) . "\n", FILE_APPEND | LOCK_EX);
        header('Location: /', true, 303);
        break;

    default:
        http_response_code(404);
}
