require 'json'
require 'net/http'
require 'sinatra'
require_relative 'verify'

set :bind, '127.0.0.1'
set :port, 3000
enable :sessions

PASSWORDS = { 'ann' => 'apple', 'ben' => 'banana' }.freeze
PAGE = File.expand_path('../page', __dir__)
TICKETS = []

get '/' do
  File.read("#{PAGE}/#{session[:user] ? 'index' : 'login'}.html")
end

post '/login' do
  name, password = params.values_at(:name, :password)
  session[:user] = name if password && PASSWORDS[name] == password
  redirect '/', 303
end

get '/tickets' do
  halt 401 unless session[:user]
  content_type :json
  TICKETS.to_json
end

post '/tickets' do
  halt 401 unless session[:user]
  ticket = { id: TICKETS.size + 1, title: params[:title], by: session[:user] }
  TICKETS << ticket
  push_to_all ticket
  redirect '/', 303
end

# pushcart asks who connects: the one whose cookie came with the handshake.
post '/hooks/push' do
  sent = request.env.select { |name, _| name.start_with?('HTTP_WEBHOOK_') }
  sent = sent.transform_keys { |name| name.delete_prefix('HTTP_').downcase.tr('_', '-') }
  halt 401 unless verify(sent, request.body.read) && session[:user]
  content_type :json
  { user_id: session[:user] }.to_json
end

def push_to_all(data)
  Net::HTTP.post(URI('http://127.0.0.1:8081/v1/push'), { to: { all: true }, data: data }.to_json)
rescue StandardError => e
  warn "push: #{e.message}"
end
