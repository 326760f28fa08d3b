require 'json'
require 'sinatra'

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
  redirect '/', 303
end
